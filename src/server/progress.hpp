#pragma once
// What a run has done so far, for the live line on a terminal and for systemctl status.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "util/format.hpp"

namespace syncropy {

// One per client of a run; written by its threads, read by the ticker. Counts only rise, until start_over().
struct Progress {
  explicit Progress(std::string client_name) : client(std::move(client_name)) {}
  const std::string client;
  std::atomic<const char*> stage = "waiting";   // a word for people: "listing", "publishing", …
  std::atomic<std::uint64_t> expected = 0;      // entries of the dataset before, while nobody knows how many there are now; 0: no idea
  std::atomic<std::uint64_t> listed = 0;        // entries the agent named
  std::atomic<std::uint64_t> settled = 0;       // entries of which everything is in place
  std::atomic<std::uint64_t> received_files = 0, received_bytes = 0;
  std::atomic<std::uint64_t> kept_bytes = 0;    // of changed files, taken over from the dataset before
  std::atomic<std::uint64_t> linked = 0;        // regular files and symbolic links taken over by a hard link
  std::atomic<std::uint64_t> problems = 0;
  // What has been received so far is of no use.
  void start_over() { listed = settled = received_files = received_bytes = kept_bytes = linked = problems = 0; }
};

// Whether a stage is bound by a time-out of its own or by what there is to do, and shows no figures meanwhile: waiting for a lock or a command,
// removing a tree, recording. False for listing and receiving, where only figures that move are progress.
[[nodiscard]] bool ends_by_itself(std::string_view stage);

// How fast a figure rises, over the last seconds.
class Speed {
 public:
  using Clock = std::chrono::steady_clock;
  // `total` never falls, but for a new beginning.
  void note(Clock::time_point now, std::uint64_t total);
  [[nodiscard]] std::uint64_t a_second() const;

 private:
  static constexpr std::chrono::seconds span{5};
  struct Sample {
    Clock::time_point time;
    std::uint64_t total;
  };
  std::deque<Sample> samples_;
};

// "web1: receiving, 92 %, 310 files, 41.2 MiB, 3.4 MiB/s, 11,000 of 12,034 entries". Files and bytes are those that came over the wire; the
// percentage is that of the entries, of as many as the dataset before had while not all are listed.
[[nodiscard]] std::string describe(const Progress& progress, std::uint64_t bytes_a_second);
// All that are at work in one line, at most four of them in full, and how many of several are done. `speeds` are the clients' in their order.
[[nodiscard]] std::string describe(const std::deque<Progress>& clients, const std::vector<Speed>& speeds);

}  // namespace syncropy

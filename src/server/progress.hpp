#pragma once
// What a run has done so far, for the live line on a terminal and for systemctl status.

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "util/format.hpp"

namespace syncropy {

// One per client of a run; written by its threads, read by the ticker. Counts only rise, until start_over().
struct Progress {
  explicit Progress(std::string client_name) : client(std::move(client_name)) {}
  const std::string client;
  std::atomic<const char*> stage = "waiting";   // a word for people: "listing", "publishing", …
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

// "web1: receiving, 11,000 of 12,034 listed entries in place, 310 new files, 41.2 MiB".
[[nodiscard]] std::string describe(const Progress& progress);

}  // namespace syncropy

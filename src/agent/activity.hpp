#pragma once
// What a session is doing, for the line that systemctl status shows.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "util/stream.hpp"

namespace syncropy {

// Of one session; written by its threads, read by the accept loop. Counts only rise.
struct Activity {
  std::atomic<const char*> doing = "connected";  // a few words for people
  std::atomic<std::uint64_t> entries = 0;        // listed
  std::atomic<std::uint64_t> files = 0;          // asked for, and answered
  std::atomic<std::uint64_t> bytes = 0;          // that passed over the connection, before encryption
};

// Reads and writes as `stream` does, and counts the bytes.
class CountedStream : public ByteStream {
 public:
  // `activity` is the caller's and outlives it.
  CountedStream(std::unique_ptr<ByteStream> stream, Activity& activity) : stream_(std::move(stream)), activity_(activity) {}
  std::size_t read_some(std::span<std::byte> into) override;
  void write_all(std::span<const std::byte> bytes) override;
  void finish() noexcept override { stream_->finish(); }
  void abort() noexcept override { stream_->abort(); }

 private:
  std::unique_ptr<ByteStream> stream_;
  Activity& activity_;
};

// An Activity at one time.
struct ActivityFigures {
  std::string who;  // escaped
  std::string doing;
  std::uint64_t entries = 0, files = 0, bytes = 0, bytes_a_second = 0;
};
// "backup1: reading, 120,000 entries listed, 3,120 files, 1.2 GiB, 85.1 MiB/s".
[[nodiscard]] std::string describe(const ActivityFigures& figures);

// Bytes a second over the time between two looks.
class Rate {
 public:
  [[nodiscard]] std::uint64_t look(std::uint64_t bytes, std::chrono::steady_clock::time_point now);

 private:
  std::uint64_t bytes_ = 0;
  std::chrono::steady_clock::time_point at_{};
};

}  // namespace syncropy

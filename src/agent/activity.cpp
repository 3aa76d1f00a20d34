#include "agent/activity.hpp"

#include "util/format.hpp"

namespace syncropy {

std::size_t CountedStream::read_some(std::span<std::byte> into) {
  const std::size_t got = stream_->read_some(into);
  activity_.bytes += got;
  return got;
}

void CountedStream::write_all(std::span<const std::byte> bytes) {
  stream_->write_all(bytes);
  activity_.bytes += bytes.size();
}

std::string describe(const ActivityFigures& figures) {
  std::string line = figures.who + ": " + figures.doing;
  if (figures.entries > 0) line += ", " + format_count(figures.entries) + " entries listed";
  if (figures.files > 0) line += ", " + format_count(figures.files) + " files";
  if (figures.bytes > 0) line += ", " + format_bytes(figures.bytes);
  if (figures.bytes_a_second > 0) line += ", " + format_bytes(figures.bytes_a_second) + "/s";
  return line;
}

std::uint64_t Rate::look(std::uint64_t bytes, std::chrono::steady_clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - at_).count();
  const bool first = at_ == std::chrono::steady_clock::time_point{};
  const std::uint64_t passed = bytes - bytes_;
  at_ = now;
  bytes_ = bytes;
  return first || seconds <= 0 ? 0 : static_cast<std::uint64_t>(static_cast<double>(passed) / seconds);
}

}  // namespace syncropy

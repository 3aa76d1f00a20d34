#pragma once
// What may come a million times, in some tens of journal entries.

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sd/journal.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::uint64_t paths_alone = 20;           // have an entry each, so that a pattern shows
inline constexpr std::size_t paths_an_entry = 480;         // then so many share one: sendmsg(2) takes 1,024 pieces, and a field is two
inline constexpr std::size_t path_bytes_an_entry = 1U << 20;
inline constexpr unsigned path_entries = 60;               // of those; whatever comes after them is counted
inline constexpr std::uint64_t output_head = 40;           // lines of a command's output, from its beginning
inline constexpr std::size_t output_tail = 10;             // and from its end
}  // namespace limits

// Names each of many paths once in the journal, as SYNCROPY_PATH, which an entry may have many of. Not thread-safe.
class PathLog {
 public:
  using Line = std::function<void(const std::string& text, std::vector<LogField> fields)>;
  // `what` completes "480 more files …": "could not be read".
  PathLog(std::string what, Line line) : what_(std::move(what)), line_(std::move(line)) {}
  // `path` absolute, as bytes; `text` is the line where it has one of its own, and `more` go with it then.
  void add(std::string_view path, const std::string& text, std::vector<LogField> more = {});
  // The rest.
  void finish();

 private:
  void flush();
  std::string what_;
  Line line_;
  std::uint64_t alone_ = 0, uncounted_ = 0;
  unsigned entries_ = 0;
  std::string first_;
  std::vector<LogField> fields_;
  std::size_t bytes_ = 0;
};

// The beginning and the end of what a command prints. Not thread-safe.
class OutputLog {
 public:
  explicit OutputLog(std::function<void(const std::string& line)> line) : line_(std::move(line)) {}
  void add(std::string line);
  void finish();

 private:
  std::function<void(const std::string&)> line_;
  std::uint64_t lines_ = 0;
  std::deque<std::string> tail_;
};

}  // namespace syncropy

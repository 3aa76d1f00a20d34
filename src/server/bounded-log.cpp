#include "server/bounded-log.hpp"

#include "util/escape.hpp"
#include "util/format.hpp"

namespace syncropy {

void PathLog::add(std::string_view path, const std::string& text, std::vector<LogField> more) {
  LogField field{"SYNCROPY_PATH", escape(path)};
  if (alone_ < limits::paths_alone) {
    ++alone_;
    more.push_back(std::move(field));
    line_(text, std::move(more));
    return;
  }
  if (entries_ == limits::path_entries) {
    ++uncounted_;
    return;
  }
  if (fields_.empty()) first_ = text;
  bytes_ += field.value.size();
  fields_.push_back(std::move(field));
  if (fields_.size() == limits::paths_an_entry || bytes_ >= limits::path_bytes_an_entry) flush();
}

void PathLog::flush() {
  if (fields_.empty()) return;
  ++entries_;
  bytes_ = 0;
  if (fields_.size() == 1) {
    line_(first_, std::exchange(fields_, {}));
    return;
  }
  const std::string count = format_count(fields_.size());
  line_(count + " more " + what_ + (logs_to_journal() ? ", named in this entry's SYNCROPY_PATH fields" : "") + "; the first: " + first_, std::exchange(fields_, {}));
}

void PathLog::finish() {
  flush();
  if (uncounted_ > 0) line_(format_count(uncounted_) + " more " + what_ + "; they are not named here", {});
  uncounted_ = 0;
}

void OutputLog::add(std::string line) {
  if (++lines_ <= limits::output_head) {
    line_(line);
    return;
  }
  tail_.push_back(std::move(line));
  if (tail_.size() > limits::output_tail) tail_.pop_front();
}

void OutputLog::finish() {
  const std::uint64_t told = limits::output_head + tail_.size();
  if (lines_ > told) line_("(" + format_count(lines_ - told) + " lines left out)");
  for (const std::string& line : tail_) line_(line);
  tail_.clear();
}

}  // namespace syncropy

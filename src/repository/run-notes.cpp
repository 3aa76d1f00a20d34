#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "repository/repository.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"

// Lines, each of which may be missing:
//
//   connected TIME EXPIRES       when its agent answered last, and when the certificate expires that it showed; 0: it showed none
//   ended TIME STATUS            the last run
//   failed TIME TIER STATUS WHY  the last run that ended with a status that says so

namespace syncropy {
namespace {

constexpr const char* notes_file = ".notes";
constexpr std::size_t notes_file_bytes = 4'096, most_why_bytes = 1'000;

std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

template <typename Number>
bool read_number(std::string_view& line, Number& number) {
  const std::string_view word = next_word(line);
  Number value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < 0) return false;
  number = value;
  return true;
}

// On one line and of a bounded length, without a character cut in two.
std::string shortened(const std::string& why) {
  std::string text = why.substr(0, most_why_bytes);
  while (text.size() < why.size() && !text.empty() && (why[text.size()] & 0xC0) == 0x80) text.pop_back();
  return text;
}

}  // namespace

RunNotes ClientStore::notes() const {
  RunNotes notes;
  std::string text;
  try {
    text = read_file(folder_.get(), notes_file, notes_file_bytes, ExitStatus::data);
  } catch (const Error&) {
    return notes;  // never written, or not by us: the datasets are what counts
  }
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::string_view key = next_word(line);
    std::int64_t time = 0;
    if (!read_number(line, time)) continue;
    if (std::int64_t expires = 0; key == "connected" && read_number(line, expires)) {
      notes.connected = time;
      notes.certificate_expires = expires;
    } else if (int ended = 0; key == "ended" && read_number(line, ended)) {
      notes.ended = time;
      notes.last_status = ended;
    } else if (key == "failed") {
      const std::optional<Tier> tier = tier_from_name(next_word(line));
      if (int status = 0; tier && read_number(line, status)) notes.failure = RunNotes::Failure{time, *tier, status, escape(line)};
    }
  }
  return notes;
}

// Not synced: what a power cut takes, the next run writes again.
void ClientStore::set_notes(const RunNotes& notes) const {
  std::string text;
  if (notes.connected != 0) text += "connected " + std::to_string(notes.connected) + " " + std::to_string(notes.certificate_expires) + "\n";
  if (notes.ended != 0) text += "ended " + std::to_string(notes.ended) + " " + std::to_string(notes.last_status) + "\n";
  if (notes.failure)
    text += "failed " + std::to_string(notes.failure->time) + " " + std::string(name_of(notes.failure->tier)) + " " + std::to_string(notes.failure->status) + " " + shortened(notes.failure->why) + "\n";
  const std::string draft = std::string(notes_file) + "-new";
  ::unlinkat(folder_.get(), draft.c_str(), 0);
  create_file(folder_.get(), draft, text, 0600);
  if (::renameat(folder_.get(), draft.c_str(), folder_.get(), notes_file) != 0) throw_errno(ExitStatus::io, "replace", where_ + "/" + notes_file);
}

}  // namespace syncropy

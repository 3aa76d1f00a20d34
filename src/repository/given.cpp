// What was given once and is never given again: a client's sequence numbers, and the names of its datasets.
//
// The file .sequence is the memory of both: the highest number, and for each tier the latest second that was a name. It is replaced by publish(),
// which writes .sequence-new, syncs the filesystem, renames that to .sequence and only then gives the dataset its name. So at any moment at least
// one of the two files is on the disk whole and knows all that was published, at the cost of no sync of its own; and both are read.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "repository/manifest-store.hpp"
#include "repository/repository.hpp"
#include "util/file.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

constexpr const char* given_file = ".sequence";
constexpr const char* given_draft = ".sequence-new";
constexpr std::size_t given_bytes = 160;  // a number and four lines of a tier and a name

// The next line of `text`, which loses it; none where no newline ends it.
std::optional<std::string_view> next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

constexpr std::uint64_t lowest_suffix = 2;

std::size_t index_of(Tier tier) { return static_cast<std::size_t>(tier) - 1; }

void raise(std::optional<std::int64_t>& latest, std::int64_t second) { latest = std::max(latest.value_or(second), second); }

}  // namespace

std::optional<ClientStore::Given> ClientStore::read_given(const char* file) const {
  std::string content;
  try {
    content = read_file(folder_.get(), file, given_bytes, ExitStatus::data);
  } catch (const Error& error) {
    if (error.status() != ExitStatus::data) throw;
    return std::nullopt;
  }
  // What was not written by us says nothing: what can be seen decides.
  std::string_view text = content;
  Given given;
  const std::optional<std::string_view> number = next_line(text);
  if (!number) return std::nullopt;
  const auto [end, error] = std::from_chars(number->data(), number->data() + number->size(), given.sequence);
  if (error != std::errc() || end != number->data() + number->size() || number->front() == '0' || given.sequence >= INT64_MAX) return std::nullopt;
  while (!text.empty()) {
    const std::optional<std::string_view> line = next_line(text);
    if (!line) return std::nullopt;
    const std::optional<Tier> tier = tier_from_name(line->substr(0, line->find(' ')));
    if (!tier) return std::nullopt;
    const std::optional<std::int64_t> second = dataset_time(line->substr(std::min(line->size(), name_of(*tier).size() + 1)));
    if (!second) return std::nullopt;
    raise(given.latest[index_of(*tier)], *second);
  }
  return given;
}

ClientStore::Given ClientStore::given() const {
  Given all = read_given(given_file).value_or(Given{});
  if (const std::optional<Given> draft = read_given(given_draft)) {
    all.sequence = std::max(all.sequence, draft->sequence);
    for (Tier tier : all_tiers)
      if (const auto& second = draft->latest[index_of(tier)]) raise(all.latest[index_of(tier)], *second);
  }
  return all;
}

void ClientStore::draft_given(Tier tier, std::uint64_t sequence, const std::string& name) const {
  Given all = given();
  all.sequence = std::max(all.sequence, sequence);
  raise(all.latest[index_of(tier)], dataset_time(name).value_or(0));
  std::string text = std::to_string(all.sequence) + "\n";
  for (Tier each : all_tiers)
    if (const auto& second = all.latest[index_of(each)]) text.append(name_of(each)).append(" ").append(dataset_name(*second)).append("\n");
  ::unlinkat(folder_.get(), given_draft, 0);
  create_file(folder_.get(), given_draft, text, 0600);
}

void ClientStore::settle_given() const {
  if (::renameat(folder_.get(), given_draft, folder_.get(), given_file) != 0) throw_errno(ExitStatus::repository, "write", where_ + "/" + given_file);
}

std::uint64_t ClientStore::next_sequence(const Datasets& datasets) const {
  std::uint64_t highest = datasets.good.empty() ? 0 : datasets.good.back().info.sequence;
  if (const Fd spares = subfolder(spare_folder, false)) {
    for (const std::string& name : names_in(spares.get())) {
      try {
        if (const Fd manifest = open_beneath(spares.get(), name + "/manifest", O_RDONLY | O_DIRECTORY))
          highest = std::max(highest, read_index(manifest.get(), where_ + "/" + spare_folder + "/" + name).info.sequence);
      } catch (const Error&) {
        // A spare only ever raises the number; one that cannot be read raises nothing.
      }
    }
  }
  const std::uint64_t noted = given().sequence;
  return std::max(highest, noted != 0 ? noted : highest + datasets.damaged.size()) + 1;
}

// A second that is later than each that was a name in this tier is a new name. Any other gets the sequence number as its suffix, which no name had
// before: a suffix is the number of its own dataset, and in repositories of old, where it counted the datasets of that second, at most that.
std::string ClientStore::free_name(Tier tier, std::int64_t utc_seconds, std::uint64_t sequence) const {
  const std::string tier_name(name_of(tier)), first = dataset_name(utc_seconds);
  std::optional<std::int64_t> latest = given().latest[index_of(tier)];
  std::uint64_t suffix = std::max(sequence, lowest_suffix);
  auto look_at = [&](std::string_view name) {  // what stands counts too, for where the file is lost
    const std::optional<std::int64_t> second = dataset_time(name);
    if (!second) return;
    raise(latest, *second);
    if (name.starts_with(first)) suffix = std::max(suffix, dataset_suffix(name) + 1);
  };
  if (const Fd folder = subfolder(tier_name.c_str(), false))
    for (const std::string& name : names_in(folder.get())) look_at(name);
  if (const Fd spares = subfolder(spare_folder, false))
    for (const std::string& name : names_in(spares.get()))
      if (name.starts_with(tier_name + ".")) look_at(std::string_view(name).substr(tier_name.size() + 1));
  return latest && utc_seconds <= *latest ? dataset_name(utc_seconds, suffix) : first;
}

}  // namespace syncropy

#include "server/verify-range.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "model/entry.hpp"
#include "repository/manifest-store.hpp"
#include "repository/tree.hpp"
#include "util/error.hpp"
#include "util/file.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

// What a folder that cannot be opened says about itself.
StoredState unopened(int code, const std::string& path) {
  if (damage_status(code) != ExitStatus::data) throw SystemError(ExitStatus::io, code, "open the stored folder", "/" + path);
  if (code == ENOENT) return {DamageKind::missing, 0};
  if (code == ENOTDIR || code == ELOOP) return {DamageKind::type, 0};
  return {DamageKind::unreadable, code};
}

}  // namespace

void VerifyRange::check(const std::string& begin, const std::string* end) {
  read_.clear();
  for (std::size_t index = 0; index < datasets_.size(); ++index) {
    on_bytes_(0);
    if (!datasets_[index].gone) check_in(index, begin, end);
  }
  remember_what_goes_on();
}

// A stored file that is not here in every dataset, and has more names than were met, may have them at other paths: there it is not read again.
void VerifyRange::remember_what_goes_on() {
  for (const auto& [key, read] : read_)
    if (read.names < datasets_.size() && read.links > read.names) findings_.remember(key, read.state);
}

Fd VerifyRange::open_dataset(VerifyDataset& dataset) const {
  try {
    return store_.open_dataset(dataset.info.tier, dataset.info.name);
  } catch (const Error& error) {
    if (error.status() != ExitStatus::no_input) throw;
    dataset.gone = true;
    return Fd();
  }
}

void VerifyRange::check_in(std::size_t index, const std::string& begin, const std::string* end) {
  VerifyDataset& dataset = datasets_[index];
  const Fd folder = open_dataset(dataset);
  if (!folder) return;
  auto after = std::upper_bound(dataset.segments.begin(), dataset.segments.end(), begin, [](const std::string& path, const SegmentInfo& segment) {
    return compare_paths(path, segment.first_path) < 0;
  });
  if (after == dataset.segments.begin() || !load(dataset, folder.get(), *std::prev(after), std::prev(after)->first_path == begin)) return;

  Fd tree = open_beneath(folder.get(), "tree", O_RDONLY | O_DIRECTORY);
  if (!tree) return findings_.add(dataset, "", unopened(errno, dataset.name + "/tree"));
  levels_.clear();
  levels_.push_back({"", std::move(tree), true, begin.empty(), slice_.has(""), 0});
  auto entry = std::lower_bound(entries_.begin(), entries_.end(), begin, [](const Entry& left, const std::string& path) {
    return compare_paths(left.path, path) < 0;
  });
  for (; entry != entries_.end() && (end == nullptr || compare_paths(entry->path, *end) < 0); ++entry) check_entry(index, *entry);
  // What is in these may go on in the next range.
  for (Level& level : levels_)
    if (level.wanted && (level.begun || level.names > 0) && folder_of(dataset, level) >= 0)
      findings_.count_names(level.path, index, datasets_.size(), level.names);
}

// Each file of the manifest is read once for each time it begins; `begins`: this is where it is reported.
bool VerifyRange::load(VerifyDataset& dataset, int folder, const SegmentInfo& segment, bool begins) {
  const std::string subject = store_.name() + "/" + dataset.name;
  try {
    const Fd manifest = open_beneath(folder, "manifest", O_RDONLY | O_DIRECTORY);
    struct stat st{};
    if (!manifest || ::fstatat(manifest.get(), segment_file(segment.digest).c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      throw SystemError(damage_status(errno), errno, "open a part of the manifest of", subject);
    if (segment.digest == digest_ && std::find(files_.begin(), files_.end(), st.st_ino) != files_.end()) return true;
    const std::unique_ptr<SegmentReader> reader = open_segment(manifest.get(), segment, subject);
    if (segment.digest != digest_ || files_.empty()) {
      files_.clear();
      entries_.clear();
      digest_ = segment.digest;
      Entry entry;
      while (reader->next(entry)) entries_.push_back(std::move(entry));
      if (entries_.front().path != segment.first_path) throw Error(ExitStatus::data, subject + ": a part of its manifest begins elsewhere than its index says");
    }
    files_.push_back(st.st_ino);
    return true;
  } catch (const Error& error) {
    if (error.status() != ExitStatus::data) throw;
    files_.clear();
    if (begins) findings_.add_manifest(dataset, error.what());
    dataset.broken = true;
    return false;
  }
}

void VerifyRange::check_entry(std::size_t index, const Entry& entry) {
  VerifyDataset& dataset = datasets_[index];
  if (entry.path.empty()) {
    struct stat st{};
    if (!levels_.front().wanted) return;
    ++progress_.names;
    if (const StoredState state = check_name(levels_.front().fd.get(), "", entry, st); state.damage) findings_.add(dataset, "", state);
    return;
  }
  const std::string_view parent = parent_of(entry.path);
  leave_to(index, parent);
  while (levels_.back().path.size() < parent.size()) {
    const std::size_t start = levels_.back().path.empty() ? 0 : levels_.back().path.size() + 1;
    std::string path(parent.substr(0, parent.find('/', start)));
    const bool wanted = slice_.has(path);
    levels_.push_back({std::move(path), Fd(), false, false, wanted, 0});
  }
  Level& level = levels_.back();
  const bool with_content = entry.digest && (entry.stat.size >= verify_large_file ? slice_.has(entry.path) : level.wanted);
  if ((level.wanted || with_content) && has_stored_name(entry)) {
    if (const int folder = folder_of(dataset, level); folder >= 0) {
      struct stat st{};
      ++progress_.names;
      const StoredState state = check_name(folder, std::string(name_of(entry.path)), entry, st);
      if (state.damage) findings_.add(dataset, entry.path, state);
      if (state.damage != DamageKind::missing && level.wanted) ++level.names;
      const bool is_as_long = !state.damage || state.damage < DamageKind::size;
      if (with_content && is_as_long) check_regular(dataset, folder, entry, st);
    }
  }
  if (entry.stat.type == FileType::folder) levels_.push_back({entry.path, Fd(), false, true, slice_.has(entry.path), 0});
}

void VerifyRange::check_regular(VerifyDataset& dataset, int folder, const Entry& entry, const struct stat& st) {
  const StoredKey key{st.st_ino, *entry.digest};
  const bool has_other_names = entry.stat.links > 1;
  if (has_other_names && findings_.splits(dataset, entry.stat, st.st_ino)) ++split_;
  auto known = read_.find(key);
  if (known == read_.end()) {
    Read read{{}, static_cast<std::uint64_t>(st.st_nlink), 0};
    VerifyFindings::Claim claim = VerifyFindings::Claim::yours;
    if (has_other_names) claim = findings_.claim(key, read.state);
    else if (findings_.recall(key, read.state)) claim = VerifyFindings::Claim::known;
    // Who reads it now reports it: every name of what is damaged is looked for when all is read.
    if (claim == VerifyFindings::Claim::elsewhere) return;
    if (claim == VerifyFindings::Claim::yours) {
      read.state = check_content(folder, std::string(name_of(entry.path)), entry, on_bytes_);
      ++progress_.files;
      if (has_other_names) findings_.settle(key, read.state);
    }
    known = read_.emplace(key, read).first;
  }
  ++known->second.names;
  if (known->second.state.damage) findings_.add(dataset, entry.path, known->second.state, key);
}

// A descriptor of the level's folder, or -1 where it is not there: which is reported.
int VerifyRange::folder_of(VerifyDataset& dataset, Level& level) {
  if (level.opened) return level.fd.get();
  level.opened = true;
  const auto above = static_cast<std::size_t>(&level - levels_.data()) - 1;
  const int parent = folder_of(dataset, levels_[above]);
  if (parent < 0) return -1;
  level.fd = Fd(::openat(parent, std::string(name_of(level.path)).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!level.fd) findings_.add(dataset, level.path, unopened(errno, level.path));
  return level.fd.get();
}

void VerifyRange::leave_to(std::size_t index, std::string_view folder) {
  VerifyDataset& dataset = datasets_[index];
  for (; !is_at_or_below(folder, levels_.back().path); levels_.pop_back()) {
    Level& level = levels_.back();
    if (!level.wanted || (!level.begun && level.names == 0) || folder_of(dataset, level) < 0) continue;
    if (level.begun) compare_count(dataset, level.path, level.fd.get(), level.names);
    else findings_.count_names(level.path, index, datasets_.size(), level.names);
  }
}

void VerifyRange::check_count(std::size_t index, const std::string& folder, std::uint64_t names) {
  VerifyDataset& dataset = datasets_[index];
  if (dataset.gone || dataset.broken) return;
  const Fd held = open_dataset(dataset);
  const Fd tree = held ? open_beneath(held.get(), "tree", O_RDONLY | O_DIRECTORY) : Fd();
  const Fd fd = tree ? open_beneath(tree.get(), folder, O_RDONLY | O_DIRECTORY) : Fd();
  if (fd) compare_count(dataset, folder, fd.get(), names);
}

void VerifyRange::compare_count(VerifyDataset& dataset, const std::string& folder, int fd, std::uint64_t names) {
  try {
    if (count_names(fd) != names) find_unexpected(dataset, folder, fd);
  } catch (const SystemError& error) {
    findings_.add(dataset, folder, unopened(error.code(), folder));
  }
}

// Those that are missing have been reported: there is at least one too many.
void VerifyRange::find_unexpected(VerifyDataset& dataset, const std::string& folder, int fd) {
  std::vector<std::string> expected;
  try {
    const Fd held = open_dataset(dataset);
    Fd manifest = held ? open_beneath(held.get(), "manifest", O_RDONLY | O_DIRECTORY) : Fd();
    if (!manifest) return;
    ManifestReader reader(std::move(manifest), store_.name() + "/" + dataset.name);
    reader.seek(folder);
    Entry entry;
    while (reader.next(entry)) {
      if (compare_paths(entry.path, folder) < 0) continue;
      if (!is_at_or_below(entry.path, folder)) break;
      if (!entry.path.empty() && parent_of(entry.path) == folder && has_stored_name(entry)) expected.emplace_back(name_of(entry.path));
    }
  } catch (const Error& error) {
    if (error.status() != ExitStatus::data) throw;
    return;  // reported where the manifest is read
  }
  std::sort(expected.begin(), expected.end());
  for (const std::string& name : names_in(fd))
    if (!std::binary_search(expected.begin(), expected.end(), name))
      findings_.add(dataset, folder.empty() ? name : folder + "/" + name, {DamageKind::unexpected, 0});
}

}  // namespace syncropy

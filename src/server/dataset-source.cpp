#include "server/dataset-source.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "model/entry.hpp"
#include "server/select.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

// The entry at `path`, or nothing.
std::optional<Entry> find_entry(const DatasetSource& source, std::string_view path) {
  ManifestReader reader = source.manifest();
  reader.seek(path);
  Entry entry;
  while (reader.next(entry)) {
    const auto order = compare_paths(entry.path, path);
    if (order == 0) return entry;
    if (order > 0) break;
  }
  return std::nullopt;
}

std::vector<std::string> roots_of(const std::vector<std::string>& typed) {
  std::vector<std::string> roots;
  for (const std::string& path : typed) roots.push_back(entry_path(path));
  std::sort(roots.begin(), roots.end(), [](const std::string& l, const std::string& r) { return compare_paths(l, r) < 0; });
  std::vector<std::string> outermost;
  for (std::string& root : roots)
    if (outermost.empty() || !is_at_or_below(root, outermost.back())) outermost.push_back(std::move(root));
  if (outermost.empty()) outermost.emplace_back();
  return outermost;
}

void expect_entry(const DatasetSource& source, const std::string& path) {
  if (find_entry(source, path)) return;
  std::string_view near = parent_of(path);
  std::optional<Entry> there;
  while (!(there = find_entry(source, near)) && !near.empty()) near = parent_of(near);
  const std::string what = "there is no /" + escape(path) + " in " + source.name();
  if (there && there->stat.type == FileType::symlink)
    throw Error(ExitStatus::no_input, what, "/" + escape(near) + " is a symbolic link to " + escape(there->details.link_target) + "; name the path it leads to");
  throw Error(ExitStatus::no_input, what, std::string("the nearest ") + (there && there->stat.type != FileType::folder ? "file" : "folder") + " that is there is /" + escape(near) + "; 'syncropy ls' shows what is in it");
}

}  // namespace

std::string entry_path(std::string path) {
  while (path.starts_with('/')) path.erase(0, 1);
  while (path.ends_with('/')) path.pop_back();
  if (const char* why = why_not_a_path(path)) throw Error(ExitStatus::usage, "'" + escape(path) + "' cannot be a path: it " + why, "write it as it is on the client");
  return path;
}

DatasetSource::DatasetSource(Fd folder, std::string name)
    : folder_(std::move(folder)), name_(std::move(name)), info_(manifest().index().info),
      tree_(open_beneath(folder_.get(), "tree", O_RDONLY | O_DIRECTORY)) {
  if (tree_.move_to("") < 0) throw_errno(damage_status(errno), "open the tree of", name_);
}

DatasetSource::DatasetSource(const SelectedDataset& selected)
    : DatasetSource(selected.store.open_dataset(selected.info.tier, selected.info.name), full_name(selected.info)) {}

DatasetSource DatasetSource::from_folder(const std::string& folder) {
  constexpr const char* remedy = "name the folder of one dataset, REPOSITORY/CLIENT/TIER/NAME, with tree and manifest in it";
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno(ExitStatus::no_input, "open", folder, remedy);
  if (::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno != EWOULDBLOCK) throw_errno(ExitStatus::io, "lock", folder);
  for (const char* part : {"tree", "manifest"})
    if (!open_beneath(fd.get(), part, O_RDONLY | O_DIRECTORY)) throw_errno(ExitStatus::no_input, "open", folder + "/" + part, remedy);
  return DatasetSource(std::move(fd), escape(folder));
}

ManifestReader DatasetSource::manifest() const {
  Fd manifest = open_beneath(folder_.get(), "manifest", O_RDONLY | O_DIRECTORY);
  if (!manifest) throw_errno(damage_status(errno), "open the manifest of", name_);
  return ManifestReader(std::move(manifest), name_);
}

Fd DatasetSource::open_content(const Entry& entry, int& code) {
  const int folder = tree_.move_to(parent_of(entry.path));
  Fd file;
  if (folder >= 0) file = Fd(::openat(folder, std::string(name_of(entry.path)).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  code = file ? 0 : errno;
  struct stat st{};
  if (file && (::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode) || static_cast<std::uint64_t>(st.st_size) != entry.stat.size)) {
    code = EBADMSG;
    return Fd();
  }
  return file;
}

SelectedEntries::SelectedEntries(const DatasetSource& source, const Selection& selection)
    : source_(source), roots_(roots_of(selection.paths)), everything_(selection.includes.empty()), excludes_(selection.excludes, {}),
      includes_(selection.includes, {}) {
  for (const std::string& root : roots_) expect_entry(source, root);
}

// Entries of the next root follow; the folders on the way to it come first.
void SelectedEntries::start_root() {
  const std::string& root = roots_[next_root_++];
  leave_to(parent_of(root));
  std::size_t depth = 0;
  for (std::size_t cut = root.empty() ? std::string::npos : 0; cut != std::string::npos; cut = root.find('/', cut + 1)) {
    const std::string above = root.substr(0, cut);
    if (depth++ < levels_.size()) continue;  // entered for the root before
    std::optional<Entry> entry = find_entry(source_, above);
    if (!entry) throw Error(ExitStatus::data, source_.name() + ": its manifest has /" + escape(root) + " but not the folder it lies in", "restore another dataset");
    const bool included = !levels_.empty() && includes_.match(levels_.back().included, std::string(name_of(above)).c_str(), true);
    enter(std::move(*entry));
    levels_.back().wanted = levels_.back().wanted || included;
  }
  reader_.emplace(source_.manifest());
  reader_->seek(root);
}

bool SelectedEntries::next(ChosenEntry& chosen) {
  while (ready_.empty()) {
    if (!reader_) {
      if (next_root_ == roots_.size()) return false;
      start_root();
    }
    const std::string& root = roots_[next_root_ - 1];
    Entry entry;
    bool any = false;
    while (reader_->next(entry)) {
      if (compare_paths(entry.path, root) < 0) continue;
      any = is_at_or_below(entry.path, root);
      break;
    }
    if (!any) reader_.reset();
    else if (choose(std::move(entry))) break;
  }
  if (ready_.empty()) return false;
  chosen = std::move(ready_.front());
  ready_.pop_front();
  return true;
}

void SelectedEntries::leave_to(std::string_view path) {
  while (!levels_.empty() && !is_at_or_below(path, levels_.back().path)) levels_.pop_back();
}

// Puts the entry into `ready_`, behind the folders that lead to it, if it is chosen.
bool SelectedEntries::choose(Entry&& entry) {
  if (skipping_ && is_at_or_below(entry.path, skipped_)) return false;
  skipping_ = false;
  leave_to(parent_of(entry.path));
  const bool is_folder = entry.stat.type == FileType::folder;
  bool wanted = everything_;
  if (!levels_.empty()) {
    const Level& above = levels_.back();
    const std::string name(name_of(entry.path));
    if (excludes_.match(above.excluded, name.c_str(), is_folder)) {
      skipping_ = is_folder;
      skipped_ = entry.path;
      return false;
    }
    wanted = wanted || above.wanted || includes_.match(above.included, name.c_str(), is_folder);
  }
  if (!wanted) {
    if (is_folder) enter(std::move(entry));
    return false;
  }
  for (Level& level : levels_) {
    if (!level.pending) continue;
    ready_.push_back({std::move(*level.pending), true});
    level.pending.reset();
  }
  if (is_folder) {
    Entry copy = entry;
    enter(std::move(copy));
    levels_.back().wanted = true;
    levels_.back().pending.reset();
  }
  ready_.push_back({std::move(entry), false});
  return true;
}

// A folder is entered; it waits until something below it is chosen.
void SelectedEntries::enter(Entry&& entry) {
  Level level{entry.path, {}, {}, false, std::nullopt};
  if (levels_.empty()) {
    level.excluded = excludes_.at_root();
    level.included = includes_.at_root();
  } else {
    const std::string name(name_of(entry.path));
    level.excluded = excludes_.below(levels_.back().excluded, name.c_str());
    level.included = includes_.below(levels_.back().included, name.c_str());
    level.wanted = levels_.back().wanted;
  }
  level.pending = std::move(entry);
  levels_.push_back(std::move(level));
}

}  // namespace syncropy

#include "repository/tree.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "repository/rename.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

// Times are compared as the filesystem keeps them, so one it had to clamp is not compared.
bool has_time(const struct stat& st, const Timestamp& mtime) {
  constexpr std::int64_t clamps_above = 0x7FFFFFFF, clamps_below = -0x7FFFFFFF - 1;
  const bool may_be_clamped = mtime.seconds > clamps_above || mtime.seconds < clamps_below;
  return may_be_clamped || (st.st_mtim.tv_sec == mtime.seconds && st.st_mtim.tv_nsec == static_cast<long>(mtime.nanoseconds));
}

// The stored shape of an entry.
bool is_as_stored(const struct stat& st, const Entry& entry) {
  if (entry.stat.type == FileType::symlink) return S_ISLNK(st.st_mode) && static_cast<std::uint64_t>(st.st_size) == entry.details.link_target.size();
  return S_ISREG(st.st_mode) && static_cast<std::uint64_t>(st.st_size) == entry.stat.size && has_time(st, entry.stat.mtime);
}

}  // namespace

SpareUnfit::SpareUnfit(const std::string& what, std::string_view path)
    : Error(ExitStatus::data, "the expired tree that was to be used again " + what + " /" + escape(path),
            "leave the folders of the repository to Syncropy; 'syncropy verify' tells what else was changed") {}

bool has_stored_name(const Entry& entry) {
  switch (entry.stat.type) {
    case FileType::folder: return true;
    case FileType::regular:
    case FileType::symlink: return (entry.flags & unread) == 0;
    default: return false;
  }
}

TreeBuilder::TreeBuilder(const Fd& tree, const Fd& previous, const Fd& removed)
    : tree_(tree.duplicate()), previous_(previous ? previous.duplicate() : Fd()), removed_(removed ? removed.duplicate() : Fd()), has_previous_(previous),
      recycled_(removed) {}

int TreeBuilder::folder(std::string_view path) {
  const int fd = tree_.move_to(path);
  if (fd < 0 && recycled_ && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) throw SpareUnfit("has no folder", path);
  if (fd < 0) throw_errno(ExitStatus::repository, "open the stored folder", path);
  return fd;
}

void TreeBuilder::make_folder(std::string_view path) {
  if (path.empty()) return;  // tree/ itself
  if (::mkdirat(folder(parent_of(path)), std::string(name_of(path)).c_str(), stored_folder_mode) == 0) return;
  refuse_surplus(path);
  throw_errno(ExitStatus::repository, "make the stored folder", path);
}

LinkResult TreeBuilder::link_previous(const Entry& entry, std::string_view from) {
  if (!has_previous_) return LinkResult::missing;
  if (from.empty()) from = entry.path;
  const std::string name(name_of(entry.path)), old_name(name_of(from));
  const int to = folder(parent_of(entry.path));
  const int old_folder = previous_.move_to(parent_of(from));
  struct stat st{};
  if (old_folder < 0 || ::fstatat(old_folder, old_name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !is_as_stored(st, entry))
    return LinkResult::missing;
  if (::linkat(old_folder, old_name.c_str(), to, name.c_str(), 0) == 0) return LinkResult::linked;
  if (errno == EMLINK || errno == EXDEV) return LinkResult::copy_needed;
  if (errno == ENOENT) return LinkResult::missing;
  refuse_surplus(entry.path);
  throw_errno(ExitStatus::repository, "link the stored file", entry.path);
}

// After a failed call that was to make `path`.
void TreeBuilder::refuse_surplus(std::string_view path) const {
  if (recycled_ && errno == EEXIST) throw SpareUnfit("holds a name that it should not:", path);
}

Fd TreeBuilder::open_previous(std::string_view path, std::uint64_t size) {
  if (!has_previous_) return Fd();
  const int from = previous_.move_to(parent_of(path));
  if (from < 0) return Fd();
  Fd file(::openat(from, std::string(name_of(path)).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st{};
  if (file && (::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode) || static_cast<std::uint64_t>(st.st_size) != size)) return Fd();
  return file;
}

LinkResult TreeBuilder::copy_previous(const Entry& entry, std::string_view source) {
  if (entry.stat.type == FileType::symlink) {
    make_symlink(entry.path, entry.details.link_target, entry.stat.mtime);
    return LinkResult::linked;
  }
  if (source.empty()) source = entry.path;
  Fd from = open_previous(source, entry.stat.size);
  if (!from) return LinkResult::missing;
  FileSink sink = create_file(entry.path, source);
  sink.write_at_once();
  bool good = true;
  try {
    // Holes stay holes: data extents are copied, the rest is left.
    std::uint64_t at = 0;
    while (at < entry.stat.size) {
      const off_t data = ::lseek(from.get(), static_cast<off_t>(at), SEEK_DATA);
      if (data < 0 && errno == ENXIO) break;
      const off_t begin = data < 0 ? static_cast<off_t>(at) : data;
      const off_t hole = data < 0 ? -1 : ::lseek(from.get(), begin, SEEK_HOLE);
      const std::uint64_t end = hole < 0 ? entry.stat.size : std::min(static_cast<std::uint64_t>(hole), entry.stat.size);
      sink.keep(static_cast<std::uint64_t>(begin), end - static_cast<std::uint64_t>(begin));
      at = end;
    }
    good = entry.digest && sink.finish(entry.stat.size, entry.stat.mtime) == *entry.digest;
  } catch (const PredecessorDamaged&) {
    good = false;
  }
  if (good) return LinkResult::linked;
  remove_file(entry.path);
  return LinkResult::missing;
}

void TreeBuilder::link_within(std::string_view leader, const Entry& entry) {
  Fd from_folder = open_beneath(folder(""), parent_of(leader), O_RDONLY | O_DIRECTORY);
  if (!from_folder) throw_errno(ExitStatus::repository, "open the stored folder of", leader);
  const int to = folder(parent_of(entry.path));
  const std::string from_name(name_of(leader)), name(name_of(entry.path));
  if (::linkat(from_folder.get(), from_name.c_str(), to, name.c_str(), 0) == 0) return;
  if (errno != EMLINK && errno != EXDEV) {
    refuse_surplus(entry.path);
    throw_errno(ExitStatus::repository, "link the stored file", entry.path);
  }
  if (entry.stat.type == FileType::symlink) return make_symlink(entry.path, entry.details.link_target, entry.stat.mtime);
  Fd from(::openat(from_folder.get(), from_name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!from) throw_errno(ExitStatus::repository, "open the stored file", leader);
  Fd file(::openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, stored_file_mode));
  if (!file) throw_errno(ExitStatus::repository, "create the stored file", entry.path);
  FileSink sink(std::move(file), std::move(from), entry.path);
  sink.write_at_once();
  sink.keep(0, entry.stat.size);
  static_cast<void>(sink.finish(entry.stat.size, entry.stat.mtime));
}

void TreeBuilder::make_symlink(std::string_view path, const std::string& target, Timestamp mtime) {
  const int parent = folder(parent_of(path));
  const std::string name(name_of(path));
  if (::symlinkat(target.c_str(), parent, name.c_str()) != 0) {
    refuse_surplus(path);
    throw_errno(ExitStatus::repository, "make the stored link", path);
  }
  const timespec times[2] = {{0, UTIME_OMIT}, {mtime.seconds, static_cast<long>(mtime.nanoseconds)}};
  if (::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    throw_errno(ExitStatus::repository, "set the time of the stored link", path);
}

void TreeBuilder::remove_file(std::string_view path) {
  if (::unlinkat(folder(parent_of(path)), std::string(name_of(path)).c_str(), 0) != 0 && errno != ENOENT)
    throw_errno(ExitStatus::repository, "remove the stored file", path);
}

void TreeBuilder::remove_stored(const Entry& entry) {
  const int parent = folder(parent_of(entry.path));
  const std::string name(name_of(entry.path));
  if (entry.stat.type != FileType::folder) {
    if (::unlinkat(parent, name.c_str(), 0) == 0) return;
    if (errno == ENOENT || errno == EISDIR) throw SpareUnfit("has no file", entry.path);
    throw_errno(ExitStatus::repository, "remove the stored file", entry.path);
  }
  struct stat st{};
  if (::fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) throw SpareUnfit("has no folder", entry.path);
  tree_.forget(entry.path);
  // By its inode's number, which none has that is there.
  if (rename_exclusive(parent, name, removed_.get(), std::to_string(st.st_ino)) != 0) throw_errno(ExitStatus::repository, "take away the stored folder", entry.path);
}

bool TreeBuilder::is_stored(const Entry& entry) {
  struct stat st{};
  return ::fstatat(folder(parent_of(entry.path)), std::string(name_of(entry.path)).c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && is_as_stored(st, entry);
}

bool TreeBuilder::shares_previous(std::string_view path) {
  const std::string name(name_of(path));
  const int ours = folder(parent_of(path)), theirs = previous_.move_to(parent_of(path));
  struct stat here{}, there{};
  return theirs >= 0 && ::fstatat(ours, name.c_str(), &here, AT_SYMLINK_NOFOLLOW) == 0 && ::fstatat(theirs, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
         here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

Timestamp TreeBuilder::folder_time(std::string_view path) {
  struct stat st{};
  if (::fstat(folder(path), &st) != 0) throw_errno(ExitStatus::repository, "look at the stored folder", path);
  return {st.st_mtim.tv_sec, static_cast<std::uint32_t>(st.st_mtim.tv_nsec)};
}

void TreeBuilder::check_folder(const Entry& entry) {
  struct stat st{};
  const bool is_root = entry.path.empty();
  if (is_root ? ::fstat(folder(""), &st) != 0
              : ::fstatat(folder(parent_of(entry.path)), std::string(name_of(entry.path)).c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    throw SpareUnfit("has no folder", entry.path);
  if (!S_ISDIR(st.st_mode)) throw SpareUnfit("has no folder", entry.path);
  if (!has_time(st, entry.stat.mtime)) throw SpareUnfit("was changed by somebody in folder", entry.path);
}

FileSink TreeBuilder::create_file(std::string_view path, std::string_view predecessor_path) {
  const std::string name(name_of(path));
  Fd file(::openat(folder(parent_of(path)), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, stored_file_mode));
  if (!file) {
    refuse_surplus(path);
    throw_errno(ExitStatus::repository, "create the stored file", path);
  }
  Fd predecessor;
  if (!predecessor_path.empty() && has_previous_) {
    const int from = previous_.move_to(parent_of(predecessor_path));
    if (from >= 0) predecessor = Fd(::openat(from, std::string(name_of(predecessor_path)).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  }
  return FileSink(std::move(file), std::move(predecessor), std::string(path));
}

void TreeBuilder::set_folder_time(std::string_view path, Timestamp mtime) {
  const timespec times[2] = {{0, UTIME_OMIT}, {mtime.seconds, static_cast<long>(mtime.nanoseconds)}};
  // By its name in its parent, which is open mostly: so the folder need not be opened.
  const int code = path.empty() ? ::futimens(folder(path), times)
                                : ::utimensat(folder(parent_of(path)), std::string(name_of(path)).c_str(), times, AT_SYMLINK_NOFOLLOW);
  if (code != 0 && recycled_ && errno == ENOENT) throw SpareUnfit("has no folder", path);
  if (code != 0) throw_errno(ExitStatus::repository, "set the time of the stored folder", path);
}

}  // namespace syncropy

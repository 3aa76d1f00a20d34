#include "restore/placer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <cstdio>

#include "model/limits.hpp"
#include "restore/removal.hpp"
#include "scan/statx.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::size_t read_bytes = 256U << 10;
constexpr std::string_view temporary_prefix = ".syncropy-restore.";
constexpr std::size_t temporary_digits = 16;
constexpr int stale_tries = 4;

std::string temporary_for(std::string_view name) { return std::string(temporary_prefix) + to_hex(digest_of(name)).substr(0, temporary_digits); }

bool is_temporary(std::string_view name) {
  return name.size() == temporary_prefix.size() + temporary_digits && name.starts_with(temporary_prefix) &&
         name.find_first_not_of("0123456789abcdef", temporary_prefix.size()) == std::string_view::npos;
}

std::string proc_path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

bool is_device(FileType type) { return type == FileType::block_device || type == FileType::character_device; }

const char* word_for(FileType type) {
  switch (type) {
    case FileType::regular: return "file";
    case FileType::folder: return "folder";
    case FileType::symlink: return "symbolic link";
    case FileType::fifo: return "FIFO";
    case FileType::socket: return "socket";
    default: return "device";
  }
}

// What was noted before stays, behind the reason.
RestoreOutcome failed(RestoreOutcome outcome, std::string what, int code, std::string_view path) {
  if (ends_the_restore(code)) throw SystemError(ExitStatus::io, code, "restore the " + what + " of", path);
  outcome.result = RestoreResult::failed;
  outcome.shortfalls.insert(outcome.shortfalls.begin(), {std::move(what), static_cast<std::uint32_t>(code)});
  if (outcome.shortfalls.size() > limits::shortfalls) outcome.shortfalls.pop_back();
  return outcome;
}

Found blocked(Found found, std::string what, int code, std::string_view path) {
  if (ends_the_restore(code)) throw SystemError(ExitStatus::io, code, "look at the " + what + " of", path);
  found.state = Found::State::blocked;
  found.shortfall = {std::move(what), static_cast<std::uint32_t>(code)};
  return found;
}

// The target of the symbolic link that is open as `fd`; empty where it cannot be read.
std::string link_target_of(int fd) {
  std::string target(limits::link_target_bytes + 1, '\0');
  const ssize_t size = ::readlinkat(fd, "", target.data(), target.size());
  target.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return target;
}

int open_anew(int folder, const char* name, int flags, Fd& fd) {
  fd = Fd(::openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC));
  return fd ? 0 : errno;
}

// Open for reading without waiting for a FIFO's other end, and without a new access time where that is permitted.
int open_to_read(int folder, const char* name, Fd& fd) {
  const int code = open_anew(folder, name, O_RDONLY | O_NONBLOCK | O_NOATIME, fd);
  return code == EPERM ? open_anew(folder, name, O_RDONLY | O_NONBLOCK, fd) : code;
}

// Calls `make`, which returns 0 or an errno, for `temporary`; what an interrupted restore left under that name is removed.
template <typename Make>
int make_anew(int folder, const std::string& temporary, Make make) {
  int code = 0;
  for (int attempt = 0; attempt < stale_tries; ++attempt) {
    code = make();
    if (code != EEXIST) return code;
    if (const int removed = remove_within(folder, temporary)) return removed;
  }
  return code;
}

}  // namespace

// --- Folders

Placer::Placer(const Fd& root, const RestoreRules& rules) : root_(root), rules_(rules), folders_(root.duplicate()), accounts_(rules), uid_(::geteuid()) {}

Placer::~Placer() {
  for (; !opened_.empty(); opened_.pop_back()) {
    const Opened& opened = opened_.back();
    const Fd folder = open_beneath(root_.get(), opened.path, O_PATH | O_DIRECTORY);
    Stat stat;
    if (folder && read_stat(folder.get(), "", stat) == 0 && stat.inode == opened.inode && stat.filesystem == opened.filesystem)
      static_cast<void>(::chmod(proc_path_of(folder.get()).c_str(), opened.mode));
  }
}

Placer::Held* Placer::hold(std::string_view path) {
  if (held_ && held_->path == path) return &*held_;
  held_.reset();
  Fd fd;
  bool by_path = false;
  if (const int at = folders_.move_to(path); at >= 0) {
    fd = Fd(::fcntl(at, F_DUPFD_CLOEXEC, 0));
  } else if (errno == EACCES) {
    fd = open_beneath(root_.get(), path, O_PATH | O_DIRECTORY);  // it may be entered without being readable
    by_path = true;
  }
  if (!fd) return nullptr;
  held_.emplace(Held{std::string(path), std::make_shared<const Fd>(std::move(fd)), by_path, std::nullopt});
  return &*held_;
}

Placer::Held* Placer::hold_parent(const Entry& entry, RestoreOutcome& outcome) {
  const std::string_view name = name_of(entry.path);
  // What an interrupted restore left was backed up. It would be taken for what this restore has written aside.
  const int code = name.empty() ? EISDIR : is_temporary(name) ? EINVAL : 0;
  if (code != 0) {
    outcome = failed(std::move(outcome), "name", code, entry.path);
    return nullptr;
  }
  Held* held = hold(parent_of(entry.path));
  if (held == nullptr) outcome = failed(std::move(outcome), "folder", errno, entry.path);
  return held;
}

void Placer::forget(std::string_view path) {
  folders_.forget(path);
  if (held_ && held_->path.starts_with(path)) held_.reset();
}

bool Placer::inherits_acl(Held& held) {
  if (!held.inherits_acl) {
    // Whose folder it is may give it a default ACL at any time: only of our own and root's is the answer remembered as no.
    struct stat st{};
    const std::string none;
    held.inherits_acl = ::fstat(held.fd->get(), &st) != 0 || (st.st_uid != uid_ && st.st_uid != 0) || has_default_acl({held.fd->get(), held.by_path, -1, none});
  }
  return *held.inherits_acl;
}

// --- Comparing

std::optional<Details> Placer::details_of(int fd, bool by_path, const Stat& stat) {
  Stat readable = stat;
  // read_details() takes files and folders for readable ones.
  if (by_path && stat.type == FileType::folder) readable.type = FileType::fifo;
  try {
    return read_details(fd, readable, true, names_);
  } catch (const SystemError& error) {
    if (ends_the_restore(error.code())) throw;
  } catch (const Error&) {
    // Beyond a bound: not what any entry has.
  }
  return std::nullopt;
}

Placer::Compared Placer::compare_content(int fd, const Entry& entry, int& code) {
  buffer_.resize(read_bytes);
  Hasher hasher;
  std::uint64_t left = entry.stat.size;
  for (;;) {
    const ssize_t got = ::read(fd, buffer_.data(), buffer_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      code = errno;
      return Compared::unreadable;
    }
    if (got == 0) break;
    const auto size = static_cast<std::size_t>(got);
    if (size > left) return Compared::different;
    hasher.update(std::string_view(buffer_).substr(0, size));
    left -= size;
  }
  return left == 0 && hasher.finish() == *entry.digest ? Compared::same : Compared::different;
}

Found Placer::examine(const Entry& entry, std::string_view leader) {
  examined_.reset();
  Found found;
  const FileType type = entry.stat.type;
  if (type == FileType::regular && !entry.digest) return blocked(std::move(found), "content", ENODATA, entry.path);
  if (type == FileType::symlink && entry.details.link_target.empty()) return blocked(std::move(found), "symbolic link", ENODATA, entry.path);
  const std::string name(entry.path.empty() ? "." : name_of(entry.path));
  if (is_temporary(name)) return blocked(std::move(found), "name", EINVAL, entry.path);
  const Held* held = hold(parent_of(entry.path));
  if (held == nullptr) return errno == ENOENT ? found : blocked(std::move(found), "folder", errno, entry.path);
  const int folder = held->fd->get();

  Stat stat;
  if (const int code = read_stat(folder, name.c_str(), stat)) return code == ENOENT ? found : blocked(std::move(found), word_for(type), code, entry.path);
  found.stat = stat;
  found.state = Found::State::different;
  if (stat.type != type) return found;
  if (!leader.empty()) {
    const Fd above = open_beneath(root_.get(), parent_of(leader), O_PATH | O_DIRECTORY);
    Stat led;
    if (!above || read_stat(above.get(), std::string(name_of(leader)).c_str(), led) != 0 || led.inode != stat.inode || led.filesystem != stat.filesystem) return found;
  } else if (type != FileType::folder && stat.links > entry.stat.links) {
    return found;
  }
  if (type == FileType::regular && stat.size != entry.stat.size) return found;
  if (is_device(type) && (stat.device_major != entry.stat.device_major || stat.device_minor != entry.stat.device_minor)) return found;

  Fd fd;
  bool by_path = false;
  int code = 0;
  if (type == FileType::regular) {
    code = open_to_read(folder, name.c_str(), fd);
    if (code == EACCES && stat.uid == uid_) return found;  // nobody may read it: it is written anew
  } else if (type == FileType::folder) {
    code = open_anew(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NONBLOCK, fd);
    if (code == EACCES) {
      by_path = true;
      code = open_anew(folder, name.c_str(), O_PATH | O_DIRECTORY, fd);
    }
  } else {
    by_path = true;
    code = open_anew(folder, name.c_str(), O_PATH, fd);
  }
  Stat opened;
  if (code == 0) code = read_stat(fd.get(), "", opened);
  if (code != 0) return blocked(std::move(found), type == FileType::regular ? "content" : word_for(type), code, entry.path);
  if (opened.inode != stat.inode || opened.filesystem != stat.filesystem || opened.type != type) return found;  // it was changed meanwhile
  if (type == FileType::symlink && link_target_of(fd.get()) != entry.details.link_target) return found;

  std::optional<Details> details = details_of(fd.get(), by_path, opened);
  if (type == FileType::regular) {
    const Compared compared = compare_content(fd.get(), entry, code);
    if (compared == Compared::unreadable) return blocked(std::move(found), "content", code, entry.path);
    if (compared == Compared::different) return found;
  }
  found.stat = opened;
  if (details && !changes_to(attributes_of(entry, accounts_), opened, *details).any()) {
    found.state = Found::State::same;
  } else {
    found.state = Found::State::attributes;
    examined_.emplace(Examined{entry.path, std::move(fd), by_path, opened, details ? std::move(*details) : Details()});
  }
  return found;
}

// --- Placing

RestoreOutcome Placer::adjust(const Entry& entry) {
  RestoreOutcome outcome;
  if (!examined_ || examined_->path != entry.path) {
    const Found found = examine(entry);
    if (found.state == Found::State::same) return outcome;
    if (found.state == Found::State::blocked) return failed(std::move(outcome), found.shortfall.what, static_cast<int>(found.shortfall.code), entry.path);
    if (!examined_) return failed(std::move(outcome), word_for(entry.stat.type), found.state == Found::State::absent ? ENOENT : EEXIST, entry.path);
  }
  // The very inode that was compared, whatever has its name by now.
  const Examined examined = std::move(*examined_);
  examined_.reset();
  const Held* held = hold(parent_of(entry.path));
  const std::string name(entry.path.empty() ? "." : name_of(entry.path));
  const Attributes wanted = attributes_of(entry, accounts_);
  outcome.result = RestoreResult::adjusted;
  set_attributes({examined.fd.get(), examined.by_path, held == nullptr ? -1 : held->fd->get(), name}, wanted, changes_to(wanted, examined.stat, examined.details),
                 outcome);
  return outcome;
}

AttributeChanges Placer::changes_to_new(const Attributes& wanted, int fd, bool may_have_acl) const {
  AttributeChanges changes;
  changes.mode = changes.time = true;
  changes.access_acl = may_have_acl || !wanted.access_acl.empty();
  for (const Xattr& xattr : wanted.entry.details.xattrs) changes.set.push_back(&xattr);
  changes.owner = changes.group = true;
  // Asking costs less than setting what is so already.
  struct stat st{};
  if (wanted.uid == uid_ && ::fstat(fd, &st) == 0) {
    changes.owner = st.st_uid != wanted.uid;
    changes.group = st.st_gid != wanted.gid;
  }
  return changes;
}

int Placer::clear_name(int folder, const std::string& name, std::string_view path) {
  forget(path);
  if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
  if (errno != ENOTEMPTY && errno != EEXIST) return errno;
  if (!rules_.remove_others) return ENOTEMPTY;
  return remove_within(folder, name);
}

int Placer::into_place(int folder, const std::string& from, const std::string& to, std::string_view path, bool over, RestoreResult& result) {
  const auto rename_new = [&] {
    if (::renameat2(folder, from.c_str(), folder, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) return errno;
    // NFS and FUSE may know no flags. A link is never made over anything.
    if (::linkat(folder, from.c_str(), folder, to.c_str(), 0) == 0) return ::unlinkat(folder, from.c_str(), 0) == 0 ? 0 : errno;
    if (errno == EEXIST || ends_the_restore(errno)) return errno;
    struct stat st{};
    if (::fstatat(folder, to.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return EEXIST;
    if (errno != ENOENT) return errno;
    return ::renameat(folder, from.c_str(), folder, to.c_str()) == 0 ? 0 : errno;
  };
  result = RestoreResult::created;
  int code = rename_new();
  if (code != EEXIST || !over) return code;
  result = RestoreResult::replaced;
  if (::renameat(folder, from.c_str(), folder, to.c_str()) == 0) return 0;
  if (errno != EISDIR) return errno;
  code = clear_name(folder, to, path);
  return code != 0 ? code : rename_new();
}

std::optional<Aside> Placer::begin(const Entry& entry, RestoreOutcome& outcome) {
  Held* held = hold_parent(entry, outcome);
  if (held == nullptr) return std::nullopt;
  std::string temporary = temporary_for(name_of(entry.path));
  Fd file;
  const int code = make_anew(held->fd->get(), temporary, [&] {
    file = Fd(::openat(held->fd->get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    return file ? 0 : errno;
  });
  if (code != 0) {
    outcome = failed(std::move(outcome), "file", code, entry.path);
    return std::nullopt;
  }
  Aside aside(held->fd, std::move(temporary), std::move(file));
  aside.inherits_acl_ = inherits_acl(*held);
  return aside;
}

RestoreOutcome Placer::finish(Aside aside, const Entry& entry, bool over) {
  RestoreOutcome outcome;
  const std::uint64_t size = entry.stat.size;
  if (aside.failure_ != 0) return failed(std::move(outcome), "content", aside.failure_, entry.path);
  if (!entry.digest) return failed(std::move(outcome), "content", ENODATA, entry.path);
  if (aside.at_ > size) return failed(std::move(outcome), "content", EBADMSG, entry.path);
  aside.hasher_.update_zeros(size - aside.at_);
  if (aside.hasher_.finish() != *entry.digest) return failed(std::move(outcome), "content", EBADMSG, entry.path);
  if (aside.written_ != size && ::ftruncate(aside.file_.get(), static_cast<off_t>(size)) != 0) return failed(std::move(outcome), "content", errno, entry.path);

  const int folder = aside.folder_->get();
  const Attributes wanted = attributes_of(entry, accounts_);
  set_attributes({aside.file_.get(), false, folder, aside.temporary_}, wanted, changes_to_new(wanted, aside.file_.get(), aside.inherits_acl_), outcome);
  aside.file_.close_checked(entry.path);
  if (const int code = into_place(folder, aside.temporary_, std::string(name_of(entry.path)), entry.path, over, outcome.result))
    return failed(std::move(outcome), "file", code, entry.path);
  aside.temporary_.clear();
  return outcome;
}

// Makes it as `temporary` and opens it with O_PATH. Who else may write in the folder may have put something else there meanwhile: what is
// opened is what was made, or nothing that exists elsewhere.
int Placer::make_special(int folder, const Entry& entry, const std::string& temporary, Fd& fd) const {
  const FileType type = entry.stat.type;
  const int code = make_anew(folder, temporary, [&] {
    int result = 0;
    if (type == FileType::symlink) {
      result = ::symlinkat(entry.details.link_target.c_str(), folder, temporary.c_str());
    } else {
      const mode_t kind = type == FileType::fifo ? S_IFIFO : type == FileType::socket ? S_IFSOCK : type == FileType::block_device ? S_IFBLK : S_IFCHR;
      result = ::mknodat(folder, temporary.c_str(), kind | 0600, is_device(type) ? makedev(entry.stat.device_major, entry.stat.device_minor) : 0);
    }
    return result == 0 ? 0 : errno;
  });
  if (code != 0) return code;
  if (const int opened = open_anew(folder, temporary.c_str(), O_PATH, fd)) return opened;
  Stat stat;
  if (const int failure = read_stat(fd.get(), "", stat)) return failure;
  const bool is_ours = stat.type == type && stat.links == 1 && (type != FileType::symlink || link_target_of(fd.get()) == entry.details.link_target) &&
                       (!is_device(type) || (stat.device_major == entry.stat.device_major && stat.device_minor == entry.stat.device_minor));
  return is_ours ? 0 : ESTALE;
}

RestoreOutcome Placer::place_special(const Entry& entry, bool over) {
  RestoreOutcome outcome;
  const char* what = word_for(entry.stat.type);
  if (entry.stat.type == FileType::regular || entry.stat.type == FileType::folder) return failed(std::move(outcome), what, EINVAL, entry.path);
  if (entry.stat.type == FileType::symlink && entry.details.link_target.empty()) return failed(std::move(outcome), what, ENODATA, entry.path);
  Held* held = hold_parent(entry, outcome);
  if (held == nullptr) return outcome;
  const bool may_have_acl = entry.stat.type != FileType::symlink && inherits_acl(*held);
  const std::string temporary = temporary_for(name_of(entry.path));
  Fd fd;
  if (const int code = make_special(held->fd->get(), entry, temporary, fd)) return failed(std::move(outcome), what, code, entry.path);
  Aside aside(held->fd, temporary, std::move(fd));  // for its removal
  const int folder = aside.folder_->get();
  const Attributes wanted = attributes_of(entry, accounts_);
  set_attributes({aside.file_.get(), true, folder, temporary}, wanted, changes_to_new(wanted, aside.file_.get(), may_have_acl), outcome);
  if (const int code = into_place(folder, temporary, std::string(name_of(entry.path)), entry.path, over, outcome.result))
    return failed(std::move(outcome), what, code, entry.path);
  aside.temporary_.clear();
  return outcome;
}

RestoreOutcome Placer::place_link(const Entry& entry, std::string_view leader, bool over) {
  RestoreOutcome outcome;
  Held* held = hold_parent(entry, outcome);
  if (held == nullptr) return outcome;
  const std::shared_ptr<const Fd> into = held->fd;
  const int folder = into->get();
  const std::string name(name_of(entry.path)), leader_name(name_of(leader));
  const Fd above = open_beneath(root_.get(), parent_of(leader), O_PATH | O_DIRECTORY);
  if (!above) return failed(std::move(outcome), "hard link", errno, entry.path);
  // The inode that is linked is the one that is looked at here, whatever happens to its name.
  Fd led;
  Stat stat;
  int code = open_anew(above.get(), leader_name.c_str(), O_PATH, led);
  if (code == 0) code = read_stat(led.get(), "", stat);
  if (code == 0 && (stat.type != entry.stat.type || stat.type == FileType::folder || stat.size != entry.stat.size)) code = ESTALE;
  if (code != 0) return failed(std::move(outcome), "hard link", code, entry.path);

  const std::string source = proc_path_of(led.get());
  const auto link_as = [&](const std::string& to) { return ::linkat(AT_FDCWD, source.c_str(), folder, to.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno; };
  outcome.result = RestoreResult::created;
  code = link_as(name);
  if (code == 0) return outcome;
  if (code == EEXIST && !over) return failed(std::move(outcome), "hard link", code, entry.path);
  if (code == EEXIST) {
    const std::string temporary = temporary_for(name);
    code = make_anew(folder, temporary, [&] { return link_as(temporary); });
    if (code == 0) {
      Aside aside(into, temporary, Fd());  // for its removal: rename(2) leaves it where both are one inode
      if (const int renamed = into_place(folder, temporary, name, entry.path, true, outcome.result)) return failed(std::move(outcome), "hard link", renamed, entry.path);
      return outcome;
    }
  }
  const int refusal = code;
  if (ends_the_restore(refusal)) return failed(std::move(outcome), "hard link", refusal, entry.path);
  if (stat.type == FileType::regular) {
    Fd from;
    code = open_to_read(above.get(), leader_name.c_str(), from);
    Stat opened;
    if (code == 0) code = read_stat(from.get(), "", opened);
    if (code == 0 && (opened.inode != stat.inode || opened.filesystem != stat.filesystem)) code = ESTALE;
    if (code != 0) return failed(std::move(outcome), "hard link", code, entry.path);
    std::optional<Aside> aside = begin(entry, outcome);
    if (!aside) return outcome;
    copy_into(*aside, from.get(), entry.stat.size);
    outcome = finish(std::move(*aside), entry, over);
  } else {
    outcome = place_special(entry, over);
  }
  if (outcome.result != RestoreResult::failed) add_shortfall(outcome, "hard link", refusal, entry.path);
  return outcome;
}

// Holes stay holes. What cannot be read makes the content differ, which finish() sees.
void Placer::copy_into(Aside& aside, int from, std::uint64_t size) {
  buffer_.resize(read_bytes);
  for (std::uint64_t at = 0; at < size;) {
    const off_t data = ::lseek(from, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return;
    std::uint64_t end = size;
    if (data >= 0) {
      at = static_cast<std::uint64_t>(data);
      const off_t hole = ::lseek(from, data, SEEK_HOLE);
      if (hole > data) end = std::min(size, static_cast<std::uint64_t>(hole));
    }
    while (at < end) {
      const ssize_t got = ::pread(from, buffer_.data(), std::min<std::uint64_t>(buffer_.size(), end - at), static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && ends_the_restore(errno)) throw_errno(ExitStatus::io, "read", "a file to copy");
      if (got <= 0) return;
      aside.write(at, std::string_view(buffer_).substr(0, static_cast<std::size_t>(got)));
      at += static_cast<std::uint64_t>(got);
    }
  }
}

int Placer::open_up(const Fd& folder, std::string_view path) {
  if (::faccessat(folder.get(), ".", R_OK | W_OK | X_OK, AT_EACCESS) == 0 || errno != EACCES) return 0;
  Stat stat;
  if (const int code = read_stat(folder.get(), "", stat)) return code;
  // Of others' folders it is enough that they can be entered: what is placed in them says what it may not.
  if (stat.uid != uid_) return ::faccessat(folder.get(), ".", X_OK, AT_EACCESS) == 0 ? 0 : errno;
  if (::chmod(proc_path_of(folder.get()).c_str(), stat.mode | S_IRWXU) != 0) return errno;
  opened_.push_back({std::string(path), stat.filesystem, stat.inode, stat.mode});
  forget(path);
  return 0;
}

RestoreOutcome Placer::open_folder(const Entry& entry, bool over) {
  RestoreOutcome outcome;
  if (entry.path.empty()) {
    if (const int code = open_up(root_, "")) return failed(std::move(outcome), "folder", code, entry.path);
    return outcome;
  }
  Held* held = hold_parent(entry, outcome);
  if (held == nullptr) return outcome;
  const std::shared_ptr<const Fd> above = held->fd;
  const int parent = above->get();
  const std::string name(name_of(entry.path));
  const bool may_have_acl = inherits_acl(*held);
  const auto give_up = [&](int code) { return failed(std::move(outcome), "folder", code, entry.path); };
  outcome.result = RestoreResult::created;
  if (::mkdirat(parent, name.c_str(), 0700) != 0) {
    if (errno != EEXIST) return give_up(errno);
    Stat stat;
    if (const int code = read_stat(parent, name.c_str(), stat)) return give_up(code);
    if (stat.type == FileType::folder) {
      outcome.result = RestoreResult::same;
    } else if (!over) {
      return give_up(EEXIST);
    } else {
      // Made first: where that fails, what is there stays.
      const std::string temporary = temporary_for(name);
      if (const int code = make_anew(parent, temporary, [&] { return ::mkdirat(parent, temporary.c_str(), 0700) == 0 ? 0 : errno; })) return give_up(code);
      int code = ::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT ? 0 : errno;
      if (code == 0 && ::renameat(parent, temporary.c_str(), parent, name.c_str()) != 0) code = errno;
      if (code != 0) {
        ::unlinkat(parent, temporary.c_str(), AT_REMOVEDIR);
        return give_up(code);
      }
      outcome.result = RestoreResult::replaced;
    }
  }
  const bool is_new = outcome.result != RestoreResult::same;
  if (is_new) forget(entry.path);
  if (is_new && !may_have_acl) return outcome;
  const Fd folder = open_beneath(parent, name, O_PATH | O_DIRECTORY);
  if (!folder) return give_up(errno);
  if (is_new) drop_inherited_acls({folder.get(), true, parent, name}, true);
  if (const int code = open_up(folder, entry.path)) return give_up(code);
  return outcome;
}

RestoreOutcome Placer::finish_folder(const Entry& entry) {
  RestoreOutcome outcome;
  const auto opened = std::find_if(opened_.rbegin(), opened_.rend(), [&](const Opened& one) { return one.path == entry.path; });
  const Found found = examine(entry);
  if (opened != opened_.rend()) opened_.erase(std::next(opened).base());
  if (held_ && held_->path == entry.path) held_.reset();  // its default ACL may change
  switch (found.state) {
    case Found::State::same: return outcome;
    case Found::State::attributes: return adjust(entry);
    case Found::State::blocked: return failed(std::move(outcome), found.shortfall.what, static_cast<int>(found.shortfall.code), entry.path);
    case Found::State::absent: return failed(std::move(outcome), "folder", ENOENT, entry.path);
    case Found::State::different: break;
  }
  return failed(std::move(outcome), "folder", ENOTDIR, entry.path);
}

// --- Others

std::vector<std::string> Placer::others_in(std::string_view path, const std::vector<std::string>& keeps) {
  const Held* held = hold(path);
  if (held == nullptr) {
    if (ends_the_restore(errno)) throw_errno(ExitStatus::io, "open", path);
    return {};
  }
  std::vector<std::string> names;
  try {
    names = names_in(held->fd->get());
  } catch (const SystemError& error) {
    if (ends_the_restore(error.code())) throw;
    return {};
  }
  std::vector<std::string_view> kept(keeps.begin(), keeps.end());
  std::sort(kept.begin(), kept.end());
  std::erase_if(names, [&](const std::string& name) { return std::binary_search(kept.begin(), kept.end(), name); });
  // What is kept may just be being written aside.
  if (std::any_of(names.begin(), names.end(), [](const std::string& name) { return is_temporary(name); })) {
    std::set<std::string> temporaries;
    for (const std::string& name : keeps) temporaries.insert(temporary_for(name));
    std::erase_if(names, [&](const std::string& name) { return temporaries.contains(name); });
  }
  return names;
}

bool Placer::remove(std::string_view path, Shortfall& shortfall) {
  int code = EBUSY;  // the root
  if (!path.empty()) {
    forget(path);
    const Held* held = hold(parent_of(path));
    if (held != nullptr) code = remove_within(held->fd->get(), std::string(name_of(path)));
    else code = errno == ENOENT ? 0 : errno;
    if (ends_the_restore(code)) throw SystemError(ExitStatus::io, code, "remove", path);
  }
  if (code != 0) shortfall = {"removal", static_cast<std::uint32_t>(code)};
  return code == 0;
}

}  // namespace syncropy

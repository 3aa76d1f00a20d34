#include "util/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "util/escape.hpp"
#include "util/fd.hpp"

namespace syncropy {

std::string read_all(int fd, std::size_t bound, ExitStatus status, std::string_view subject) {
  std::string bytes;
  struct stat st{};
  if (::fstat(fd, &st) == 0 && st.st_size > 0) bytes.reserve(std::min<std::size_t>(static_cast<std::size_t>(st.st_size) + 1, bound + 1));
  for (;;) {
    const std::size_t at = bytes.size();
    bytes.resize(std::max<std::size_t>(bytes.capacity(), at + 65'536));
    const ssize_t got = ::read(fd, bytes.data() + at, bytes.size() - at);
    bytes.resize(at + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno(status, "read", subject);
    if (bytes.size() > bound) throw Error(status, escape(subject) + " is larger than " + std::to_string(bound) + " bytes", "check that this is the file that was meant");
    if (got == 0) return bytes;
  }
}

std::string read_file(int at, const std::string& name, std::size_t bound, ExitStatus status) {
  const Fd fd(::openat(at, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throw_errno(status, "open", name);
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) throw_errno(status, "stat", name);
  if (!S_ISREG(st.st_mode)) throw Error(status, escape(name) + " is not a regular file");
  return read_all(fd.get(), bound, status, name);
}

void write_all(int fd, std::string_view bytes, std::string_view subject) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_errno(ExitStatus::io, "write", subject);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

void create_file(int at, const std::string& name, std::string_view bytes, unsigned mode) {
  Fd fd(::openat(at, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) throw_errno(ExitStatus::io, "create", name);
  write_all(fd.get(), bytes, name);
  fd.close_checked(name);
}

void replace_file(int at, const std::string& name, std::string_view bytes, unsigned mode, std::optional<FileOwner> owner) {
  const std::string draft = name + "-new";
  ::unlinkat(at, draft.c_str(), 0);  // of one that was interrupted
  create_file(at, draft, bytes, mode);
  const Fd file(::openat(at, draft.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (file && owner && ::fchown(file.get(), owner->user, owner->group) != 0) throw_errno(ExitStatus::io, "give away", draft);
  if (!file || ::fsync(file.get()) != 0) throw_errno(ExitStatus::io, "sync", draft);
  if (::renameat(at, draft.c_str(), at, name.c_str()) != 0) throw_errno(ExitStatus::io, "replace", name);
  if (::fsync(at) != 0) throw_errno(ExitStatus::io, "sync the folder of", name);
}

std::vector<std::string> names_in(int folder) {
  // A descriptor of its own: the position of a shared one would be shared too.
  Fd own(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) throw_errno(ExitStatus::io, "open", "a folder");
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(own.get()), ::closedir);
  if (!dir) throw_errno(ExitStatus::io, "read", "a folder");
  static_cast<void>(own.release());
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) throw_errno(ExitStatus::io, "read", "a folder");
      break;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

namespace {

// Moves a folder into `top` under the first free number: one may be left from a removal that was interrupted.
std::string move_aside(int from, const std::string& name, int top, unsigned long& count) {
  for (;;) {
    std::string number = ".remove-" + std::to_string(++count);
    if (::renameat(from, name.c_str(), top, number.c_str()) == 0) return number;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR) throw_errno(ExitStatus::io, "move", name);
  }
}

// Removes what is in `folder` except folders, which it moves up into `top` under numbers and lists: so that depth costs no descriptors.
void empty_folder(int top, int folder, std::vector<std::string>& flattened, unsigned long& count) {
  for (const std::string& name : names_in(folder)) {
    if (::unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) throw_errno(ExitStatus::io, "remove", name);
    if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) continue;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != EACCES) throw_errno(ExitStatus::io, "remove", name);
    flattened.push_back(move_aside(folder, name, top, count));
  }
}

}  // namespace

bool remove_tree(int at, const std::string& name, const std::function<bool()>& go_on) {
  if (go_on && !go_on()) return false;
  if (::unlinkat(at, name.c_str(), 0) == 0 || errno == ENOENT) return true;
  if (errno != EISDIR && errno != EPERM) throw_errno(ExitStatus::io, "remove", name);
  auto open_folder = [](int parent, const std::string& child) {
    Fd fd(::openat(parent, child.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd && errno == EACCES && ::fchmodat(parent, child.c_str(), 0700, 0) == 0)
      fd = Fd(::openat(parent, child.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd && ::fchmod(fd.get(), 0700) != 0) throw_errno(ExitStatus::io, "open up", child);
    return fd;
  };
  const Fd top = open_folder(at, name);
  if (!top) {
    if (errno == ENOENT) return true;
    throw_errno(ExitStatus::io, "open", name);
  }
  std::vector<std::string> flattened;
  unsigned long count = 0;
  empty_folder(top.get(), top.get(), flattened, count);
  while (!flattened.empty()) {
    if (go_on && !go_on()) return false;
    const std::string child = std::move(flattened.back());
    flattened.pop_back();
    {
      const Fd folder = open_folder(top.get(), child);
      if (!folder) throw_errno(ExitStatus::io, "open", child);
      empty_folder(top.get(), folder.get(), flattened, count);
    }
    if (::unlinkat(top.get(), child.c_str(), AT_REMOVEDIR) != 0) throw_errno(ExitStatus::io, "remove", child);
  }
  if (::unlinkat(at, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) throw_errno(ExitStatus::io, "remove", name);
  return true;
}

}  // namespace syncropy

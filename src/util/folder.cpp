#include "util/folder.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace syncropy {
namespace {

// One call takes a path below PATH_MAX (4,096 with its terminator); longer ones go in pieces cut at a slash.
constexpr std::size_t longest_piece = 4'000;

// RestrictSUIDSGID= and old seccomp filters answer openat2 with ENOSYS: then component by component with O_NOFOLLOW.
Fd open_by_components(int root, const std::string& path, int flags, mode_t mode) {
  Fd held;
  int at = root;
  for (std::size_t start = 0;;) {
    const std::size_t slash = path.find('/', start);
    const std::string component = path.substr(start, slash - start);
    if (component == ".." || (component == "." && path != ".")) {
      errno = EXDEV;
      return Fd();
    }
    const bool last = slash == std::string::npos;
    Fd next(last ? ::openat(at, component.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode)
                 : ::openat(at, component.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next || last) return next;
    held = std::move(next);
    at = held.get();
    start = slash + 1;
  }
}

Fd open_piece(int root, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  // A rename on the way makes RESOLVE_BENEATH answer EAGAIN (openat2(2)); a bounded number of tries.
  for (int attempt = 0; attempt < 16; ++attempt) {
    const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno == ENOSYS) return open_by_components(root, path, flags, mode);
    if (errno != EAGAIN && errno != EINTR) return Fd();
  }
  return Fd();
}

}  // namespace

Fd open_beneath(int root, std::string_view path, int flags, mode_t mode) {
  if (path.find('\0') != std::string_view::npos) {
    errno = EINVAL;
    return Fd();
  }
  if (path.empty()) path = ".";
  Fd held;
  int at = root;
  while (path.size() > longest_piece) {
    const std::size_t slash = path.rfind('/', longest_piece);
    if (slash == std::string_view::npos) break;  // a component that long is ENAMETOOLONG below
    Fd next = open_piece(at, std::string(path.substr(0, slash)), O_PATH | O_DIRECTORY, 0);
    if (!next) return next;
    held = std::move(next);
    at = held.get();
    path.remove_prefix(slash + 1);
  }
  return open_piece(at, std::string(path), flags, mode);
}

int FolderCursor::move_to(std::string_view path) {
  // Keep the levels that lie on the way to `path`.
  while (!levels_.empty()) {
    const std::size_t length = levels_.back().path_length;
    const std::string_view kept = std::string_view(path_).substr(0, length);
    if (path.substr(0, length) == kept && (path.size() == length || path[length] == '/')) break;
    levels_.pop_back();
  }
  std::size_t done = levels_.empty() ? 0 : levels_.back().path_length;
  int at = levels_.empty() ? root_.get() : levels_.back().fd.get();
  path_.assign(path.substr(0, done));
  while (done < path.size()) {
    const std::size_t start = done == 0 ? 0 : done + 1;
    const std::size_t end = std::min(path.find('/', start), path.size());
    Fd next = open_beneath(at, path.substr(start, end - start), O_RDONLY | O_DIRECTORY);
    if (!next) return -1;
    at = next.get();
    levels_.push_back({end, std::move(next)});
    path_.assign(path.substr(0, end));
    done = end;
  }
  return at;
}

void FolderCursor::forget(std::string_view path) {
  while (!levels_.empty() && levels_.back().path_length >= path.size() && std::string_view(path_).substr(0, path.size()) == path) {
    levels_.pop_back();
    path_.resize(levels_.empty() ? 0 : levels_.back().path_length);
  }
}

}  // namespace syncropy

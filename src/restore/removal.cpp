#include "restore/removal.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "restore/attributes.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

constexpr std::size_t held_levels = 64;  // deeper folders are opened again on the way back

class Removal {
 public:
  int run(int at, const std::string& name) {
    struct stat st{};
    if (::fstat(at, &st) != 0) return errno;
    device_ = st.st_dev;
    remove_or_enter(at, name);
    while (!levels_.empty()) step(at);
    return code_;
  }

 private:
  struct Level {
    std::string name;
    Fd fd;  // empty while something deeper is removed
    ino_t inode = 0;
    std::vector<std::string> names;
    std::size_t next = 0;
    bool stays = false;  // something in it could not be removed
  };

  void note(int code, const std::string& name) {
    if (ends_the_restore(code)) throw SystemError(ExitStatus::io, code, "remove", name);
    if (code_ == 0) code_ = code;
    if (!levels_.empty()) levels_.back().stays = true;
  }

  void remove_or_enter(int at, const std::string& name) {
    if (::unlinkat(at, name.c_str(), 0) == 0 || errno == ENOENT) return;
    const int code = errno;
    if (code != EISDIR && code != EPERM) return note(code, name);
    if (::unlinkat(at, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return;
    if (errno != ENOTEMPTY && errno != EEXIST) return note(errno == ENOTDIR ? code : errno, name);
    if (const int failure = enter(at, name)) note(failure, name);
  }

  int enter(int at, const std::string& name) {
    const Fd path = open_beneath(at, name, O_PATH | O_DIRECTORY);
    struct statx st;
    if (!path || ::statx(path.get(), "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) != 0) return errno;
    // A mount of the same filesystem has the same device number.
    const std::uint64_t is_mount = st.stx_attributes & st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT;
    if (makedev(st.stx_dev_major, st.stx_dev_minor) != device_ || is_mount != 0) return EXDEV;
    if ((st.stx_mode & S_IRWXU) != S_IRWXU && st.stx_uid == ::geteuid())
      static_cast<void>(::chmod(("/proc/self/fd/" + std::to_string(path.get())).c_str(), (st.stx_mode & 07777U) | S_IRWXU));
    Level level;
    level.name = name;
    level.inode = st.stx_ino;
    level.fd = Fd(::openat(path.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!level.fd) return errno;
    try {
      level.names = names_in(level.fd.get());
    } catch (const SystemError& error) {
      return error.code();
    }
    if (levels_.size() > held_levels + 1) levels_.back().fd.reset();
    levels_.push_back(std::move(level));
    return 0;
  }

  void step(int at) {
    Level& level = levels_.back();
    if (level.next < level.names.size()) return remove_or_enter(level.fd.get(), level.names[level.next++]);
    const Level done = std::move(level);
    levels_.pop_back();
    if (!levels_.empty()) {
      Level& above = levels_.back();
      if (!above.fd && !open_again(above)) {
        above.next = above.names.size();
        return note(ESTALE, done.name);
      }
      at = above.fd.get();
      if (done.stays) above.stays = true;
    }
    if (!done.stays && ::unlinkat(at, done.name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) note(errno, done.name);
  }

  // The last level, by the names from the deepest one that is held.
  bool open_again(Level& level) {
    std::string path;
    for (std::size_t i = held_levels + 1; i < levels_.size(); ++i) path += (path.empty() ? "" : "/") + levels_[i].name;
    level.fd = open_beneath(levels_[held_levels].fd.get(), path, O_RDONLY | O_DIRECTORY);
    struct stat st{};
    return level.fd && ::fstat(level.fd.get(), &st) == 0 && st.st_ino == level.inode && st.st_dev == device_;
  }

  dev_t device_ = 0;
  int code_ = 0;
  std::vector<Level> levels_;
};

}  // namespace

int remove_within(int at, const std::string& name) { return Removal().run(at, name); }

}  // namespace syncropy

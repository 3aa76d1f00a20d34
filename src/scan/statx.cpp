#include "scan/statx.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

namespace syncropy {
namespace {

FileType type_of(std::uint16_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR: return FileType::folder;
    case S_IFLNK: return FileType::symlink;
    case S_IFBLK: return FileType::block_device;
    case S_IFCHR: return FileType::character_device;
    case S_IFIFO: return FileType::fifo;
    case S_IFSOCK: return FileType::socket;
    default: return FileType::regular;
  }
}

}  // namespace

int read_stat(int at, const char* name, Stat& stat, std::uint64_t* allocated) {
  struct statx raw;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name == '\0' ? AT_EMPTY_PATH : 0);
  if (::statx(at, name, flags, STATX_BASIC_STATS, &raw) != 0) return errno;
  if (allocated != nullptr) *allocated = raw.stx_blocks * 512;
  stat.type = type_of(raw.stx_mode);
  stat.mode = raw.stx_mode & 07777;
  stat.uid = raw.stx_uid;
  stat.gid = raw.stx_gid;
  // A folder's size says how its filesystem stores names; nobody restores it.
  stat.size = stat.type == FileType::regular || stat.type == FileType::symlink ? raw.stx_size : 0;
  stat.mtime = {raw.stx_mtime.tv_sec, raw.stx_mtime.tv_nsec};
  stat.ctime = {raw.stx_ctime.tv_sec, raw.stx_ctime.tv_nsec};
  stat.inode = raw.stx_ino;
  stat.filesystem = makedev(raw.stx_dev_major, raw.stx_dev_minor);
  stat.links = raw.stx_nlink;
  const bool device = stat.type == FileType::block_device || stat.type == FileType::character_device;
  stat.device_major = device ? raw.stx_rdev_major : 0;
  stat.device_minor = device ? raw.stx_rdev_minor : 0;
  return 0;
}

}  // namespace syncropy

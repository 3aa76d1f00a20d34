#include "scan/folder-reader.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "model/limits.hpp"
#include "scan/statx.hpp"
#include "util/error.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

constexpr std::size_t buffer_bytes = 128U << 10;  // a folder of 4,000 names in one getdents64
// From here on a cold inode table is read faster in its own order than in the order of names.
constexpr std::size_t large_folder = 256;
constexpr std::size_t kept_names = 65'536;  // the buffers of one huge folder are not kept for the small ones after it

// Filesystems of linux/magic.h where it names them, of their own sources where it does not.
constexpr std::array<std::uint32_t, 21> kernel_filesystems{
    PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC,
    BPF_FS_MAGIC, PSTOREFS_MAGIC, EFIVARFS_MAGIC, DEVPTS_SUPER_MAGIC, HUGETLBFS_MAGIC, BINFMTFS_MAGIC, NSFS_MAGIC, SELINUX_MAGIC,
    AUTOFS_SUPER_MAGIC, SMACK_MAGIC,
    0x62656570,  // configfs
    0x19800202,  // mqueue
    0x65735543,  // fusectl
    0x67596969,  // rpc_pipefs
};

std::uint64_t key_of(const char* name, std::size_t size) {
  std::uint64_t key = 0;
  std::memcpy(&key, name, std::min(size, sizeof key));
  if constexpr (std::endian::native == std::endian::little) key = __builtin_bswap64(key);
  return key;
}

// The walk cannot go on: a folder passed over for want of a descriptor would be a hole that nobody sees.
bool is_exhaustion(int code) { return code == EMFILE || code == ENFILE || code == ENOMEM; }

bool is_type_change(int code) { return code == ENOTDIR || code == ELOOP; }

// linux_dirent64 of getdents64(2), for which no header of ours has a type: d_ino, d_off, d_reclen, d_type, d_name.
struct DirectoryEntry {
  std::uint64_t inode;
  std::uint16_t length;
  std::uint8_t kind;
  const char* name;

  explicit DirectoryEntry(const char* at) : name(at + offsetof(dirent64, d_name)) {
    std::memcpy(&inode, at + offsetof(dirent64, d_ino), sizeof inode);
    std::memcpy(&length, at + offsetof(dirent64, d_reclen), sizeof length);
    std::memcpy(&kind, at + offsetof(dirent64, d_type), sizeof kind);
  }
};

}  // namespace

bool is_kernel_filesystem(int fd) {
  struct statfs about;
  if (::fstatfs(fd, &about) != 0) return false;
  const auto type = static_cast<std::uint32_t>(about.f_type);
  return std::find(kernel_filesystems.begin(), kernel_filesystems.end(), type) != kernel_filesystems.end();
}

std::string path_below(const WalkFolder& folder, const WalkFolder* from) {
  std::vector<std::string_view> names;
  for (const WalkFolder* at = &folder; at != from && at != nullptr; at = at->parent) names.push_back(at->name);
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path += '/';
    path += *name;
  }
  return path;
}

FolderReader::FolderReader(const Excludes& excludes, bool one_file_system, unsigned max_depth)
    : excludes_(excludes), one_file_system_(one_file_system), max_depth_(max_depth), buffer_(buffer_bytes) {}

Fd FolderReader::open(WalkFolder& folder, int base, const std::string& path) {
  const auto open_as = [&](int flags) {
    if (!path.empty() || folder.parent == nullptr) return open_beneath(base, path, flags);
    return Fd(::openat(base, folder.name.data(), flags | O_NOFOLLOW | O_CLOEXEC));
  };
  int code = 0;
  // A folder may be swapped for something else, and back, while it is opened.
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (folder.crosses) {
      // O_PATH alone triggers no automount, and opens no file of a kernel filesystem.
      const Fd peeked = open_as(O_PATH);
      if (peeked && is_kernel_filesystem(peeked.get())) return Fd();
    }
    Fd fd = open_as(O_RDONLY | O_DIRECTORY);
    if (fd) return fd;
    code = errno;
    if (!is_type_change(code)) break;
    const Fd peeked = open_as(O_PATH);
    if (!peeked) {
      code = is_type_change(errno) ? ENOENT : errno;  // a folder above it is no folder any more
      break;
    }
    Stat now;
    code = read_stat(peeked.get(), "", now);
    if (code != 0) break;
    if (now.type != FileType::folder) {
      folder.stat = now;
      return Fd();
    }
    code = EBUSY;
  }
  if (is_exhaustion(code)) {
    throw SystemError(ExitStatus::io, code, "open", path_below(folder, nullptr),
                      code == ENOMEM ? "give the machine or the service more memory"
                                     : "raise LimitNOFILE= of the service or fs.file-max of the machine");
  }
  folder.vanished = code == ENOENT;
  if (!folder.vanished) {
    folder.code = code;
    folder.tried = "open";
  }
  return Fd();
}

void FolderReader::list(WalkFolder& folder, int fd) {
  found_.clear();
  found_names_.clear();
  for (;;) {
    const long size = ::syscall(SYS_getdents64, fd, buffer_.data(), buffer_.size());
    if (size == 0) break;
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOENT) {
        folder.vanished = true;
        return;
      }
      folder.code = errno;
      folder.tried = "read";
      break;
    }
    for (long at = 0; at < size;) {
      const DirectoryEntry entry(buffer_.data() + at);
      at += entry.length;
      const char* name = entry.name;
      if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'))) continue;
      if (!folder.position.empty() && excludes_.match(folder.position, name, entry.kind == DT_DIR)) continue;
      const std::size_t name_size = std::strlen(name);
      found_.push_back({key_of(name, name_size), entry.inode, found_names_.size(), static_cast<std::uint16_t>(name_size), entry.kind});
      found_names_.append(name, name_size + 1);
    }
  }
  if (folder.depth >= max_depth_ && !found_.empty()) {
    folder.code = ENAMETOOLONG;
    folder.tried = "descend into";
    return;
  }
  if (found_names_.size() > UINT32_MAX) {
    folder.code = EFBIG;
    folder.tried = "read";
    return;
  }

  const auto text = [this](const Name& name) { return std::string_view(found_names_.data() + name.at, name.size); };
  std::sort(found_.begin(), found_.end(), [&](const Name& left, const Name& right) {
    return left.key != right.key ? left.key < right.key : text(left) < text(right);
  });
  // A name that is renamed to and fro while the folder is read may show twice.
  found_.erase(std::unique(found_.begin(), found_.end(),
                           [&](const Name& left, const Name& right) { return left.key == right.key && text(left) == text(right); }),
               found_.end());

  const std::size_t prefix = folder.path_size == 0 ? 0 : folder.path_size + 1;
  folder.names.reserve(found_names_.size());
  folder.children.resize(found_.size());
  for (std::size_t i = 0; i < found_.size(); ++i) {
    WalkChild& child = folder.children[i];
    child.name_at = static_cast<std::uint32_t>(folder.names.size());
    child.name_size = found_[i].size;
    child.kind = found_[i].kind;
    folder.names.append(found_names_.data() + found_[i].at, found_[i].size + 1U);
    if (child.name_size > limits::name_bytes || prefix + child.name_size > limits::path_bytes) child.code = ENAMETOOLONG;
  }
  if (found_.size() >= large_folder) {
    folder.by_inode.resize(found_.size());
    for (std::size_t i = 0; i < found_.size(); ++i) folder.by_inode[i] = static_cast<std::uint32_t>(i);
    std::sort(folder.by_inode.begin(), folder.by_inode.end(),
              [&](std::uint32_t left, std::uint32_t right) { return found_[left].inode < found_[right].inode; });
  }
  if (found_.size() > kept_names) {
    found_ = {};
    found_names_ = {};
  }
}

void FolderReader::stat_chunk(WalkFolder& folder, int fd, std::size_t chunk, const Excludes& excludes) {
  const std::size_t end = std::min((chunk + 1) * chunk_entries, folder.children.size());
  for (std::size_t i = chunk * chunk_entries; i < end; ++i) {
    WalkChild& child = folder.children[folder.by_inode.empty() ? i : folder.by_inode[i]];
    if (child.code != 0) continue;
    const char* name = folder.names.data() + child.name_at;
    child.code = read_stat(fd, name, child.stat);
    if (child.code == ENOENT) {
      child.code = 0;
      child.gone = true;
    } else if (child.code == 0 && child.kind == DT_UNKNOWN && child.stat.type == FileType::folder && !folder.position.empty()) {
      child.gone = excludes.match(folder.position, name, true);
    }
  }
}

void FolderReader::finish(WalkFolder& folder) const {
  folder.by_inode = {};
  for (WalkChild& child : folder.children) {
    if (child.gone) continue;
    if (child.code == EACCES) {
      // Readable but not searchable: one problem of the folder, not one of each name in it.
      folder.code = EACCES;
      folder.tried = "search";
      child.code = 0;
      child.gone = true;
      continue;
    }
    if (child.code != 0) {
      ++folder.unread_children;
      continue;
    }
    if (child.stat.type != FileType::folder) continue;
    const bool crosses = child.stat.filesystem != folder.stat.filesystem;
    if (crosses && one_file_system_) continue;
    auto subfolder = std::make_unique<WalkFolder>();
    subfolder->parent = &folder;
    subfolder->name = folder.name_of(child);
    subfolder->stat = child.stat;
    subfolder->depth = folder.depth + 1;
    subfolder->path_size = (folder.path_size == 0 ? 0 : folder.path_size + 1) + child.name_size;
    subfolder->crosses = crosses;
    if (!folder.position.empty()) subfolder->position = excludes_.below(folder.position, subfolder->name.data());
    folder.subfolders.push_back(std::move(subfolder));
    child.subfolder = static_cast<std::uint32_t>(folder.subfolders.size());
  }
}

}  // namespace syncropy

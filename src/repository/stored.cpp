#include "repository/stored.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

#include "model/limits.hpp"
#include "repository/manifest-store.hpp"
#include "repository/tree.hpp"
#include "util/digest.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

constexpr mode_t permission_bits = 07777;
constexpr std::size_t buffer_bytes = 1U << 20;
constexpr std::uint64_t told_bytes = 8U << 20;
constexpr std::uint64_t block_bytes = 512;  // what st_blocks counts (stat(2))

// A failure that says something about what is stored; any other is thrown.
StoredState unreadable(int code, const std::string& name) {
  if (damage_status(code) != ExitStatus::data) throw SystemError(ExitStatus::io, code, "read the stored file", name);
  return {code == ENOENT ? DamageKind::missing : DamageKind::unreadable, code};
}

// Filesystems clamp what their inodes cannot hold: a time that might be clamped is not compared.
bool is_time(const timespec& stored, Timestamp time) {
  constexpr std::int64_t clamps_above = 0x7FFFFFFF, clamps_below = -0x7FFFFFFF - 1;
  if (time.seconds > clamps_above || time.seconds < clamps_below) return true;
  return stored.tv_sec == time.seconds && stored.tv_nsec == static_cast<long>(time.nanoseconds);
}

bool is_type(mode_t mode, FileType type) {
  return type == FileType::regular ? S_ISREG(mode) : type == FileType::folder ? S_ISDIR(mode) : S_ISLNK(mode);
}

StoredState check_target(int folder, const std::string& name, const Entry& entry) {
  std::string target(limits::link_target_bytes + 2, '\0');
  const ssize_t length = ::readlinkat(folder, name.c_str(), target.data(), target.size());
  if (length < 0) return unreadable(errno, name);
  if (std::string_view(target.data(), static_cast<std::size_t>(length)) != entry.details.link_target) return {DamageKind::target, 0};
  return {};
}

// Reads an open file to `size`, counting what it reads.
class StoredBytes {
 public:
  StoredBytes(int file, const std::function<void(std::uint64_t)>& on_bytes) : file_(file), on_bytes_(on_bytes), buffer_(buffer()) {}

  // 0, or the errno of what could not be read; EBADMSG where the file ends early.
  int data(std::uint64_t from, std::uint64_t end) {
    while (from < end) {
      const ssize_t got = ::pread(file_, buffer_.get(), std::min<std::uint64_t>(end - from, buffer_bytes), static_cast<off_t>(from));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return got < 0 ? errno : EBADMSG;
      hasher_.update({buffer_.get(), static_cast<std::size_t>(got)});
      from += static_cast<std::uint64_t>(got);
      tell(static_cast<std::uint64_t>(got), from);
    }
    return 0;
  }
  void hole(std::uint64_t bytes) {
    hasher_.update_zeros(bytes, [this] { on_bytes_(0); });
  }
  [[nodiscard]] Digest finish() {
    ::posix_fadvise(file_, 0, 0, POSIX_FADV_DONTNEED);
    on_bytes_(untold_);
    return hasher_.finish();
  }

 private:
  // One a thread, kept: a tree of small files would otherwise take a mapping for each.
  static const std::unique_ptr<char[]>& buffer() {
    thread_local const std::unique_ptr<char[]> bytes = std::make_unique_for_overwrite<char[]>(buffer_bytes);
    return bytes;
  }
  void tell(std::uint64_t bytes, std::uint64_t position) {
    untold_ += bytes;
    if (untold_ < told_bytes) return;
    ::posix_fadvise(file_, static_cast<off_t>(position - untold_), static_cast<off_t>(untold_), POSIX_FADV_DONTNEED);
    on_bytes_(std::exchange(untold_, 0));
  }

  int file_;
  const std::function<void(std::uint64_t)>& on_bytes_;
  const std::unique_ptr<char[]>& buffer_;
  Hasher hasher_;
  std::uint64_t untold_ = 0;
};

}  // namespace

StoredState check_name(int folder, const std::string& name, const Entry& entry, struct stat& st) {
  if (::fstatat(folder, name.empty() ? "." : name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return unreadable(errno, name);
  if (!is_type(st.st_mode, entry.stat.type)) return {DamageKind::type, 0};
  if (entry.stat.type == FileType::regular && static_cast<std::uint64_t>(st.st_size) != entry.stat.size) return {DamageKind::size, 0};
  if (entry.stat.type == FileType::symlink)
    if (const StoredState state = check_target(folder, name, entry); state.damage) return state;
  if (!is_time(st.st_mtim, entry.stat.mtime)) return {DamageKind::time, 0};
  const mode_t mode = st.st_mode & permission_bits;
  if (entry.stat.type != FileType::symlink && mode != (entry.stat.type == FileType::folder ? stored_folder_mode : stored_file_mode)) return {DamageKind::mode, 0};
  return {};
}

StoredState check_content(int folder, const std::string& name, const Entry& entry, const std::function<void(std::uint64_t)>& on_bytes) {
  // Its owner may leave the time of access alone: a million inodes would be written for nothing.
  constexpr int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  Fd file(::openat(folder, name.c_str(), flags | O_NOATIME));
  if (!file && errno == EPERM) file = Fd(::openat(folder, name.c_str(), flags));
  if (!file) return unreadable(errno, name);
  struct stat st{};
  if (::fstat(file.get(), &st) != 0) return unreadable(errno, name);
  const auto size = static_cast<std::uint64_t>(st.st_size);
  if (!S_ISREG(st.st_mode) || size != entry.stat.size) return {DamageKind::size, 0};
  // What the cache holds may be better than what the disk holds.
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  if (size > buffer_bytes) ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  StoredBytes bytes(file.get(), on_bytes);
  const bool has_holes = static_cast<std::uint64_t>(st.st_blocks) * block_bytes < size;
  for (std::uint64_t at = 0; at < size;) {
    std::uint64_t begin = at, end = size;
    if (has_holes) {
      const off_t data = ::lseek(file.get(), static_cast<off_t>(at), SEEK_DATA);
      if (data < 0 && errno == ENXIO) begin = size;
      if (data >= 0) begin = static_cast<std::uint64_t>(data);
      const off_t hole = data >= 0 ? ::lseek(file.get(), data, SEEK_HOLE) : -1;
      if (hole > data) end = std::min(size, static_cast<std::uint64_t>(hole));
    }
    bytes.hole(begin - at);
    if (const int code = bytes.data(begin, end); code != 0) {
      static_cast<void>(bytes.finish());
      return code == EBADMSG ? StoredState{DamageKind::size, 0} : unreadable(code, name);
    }
    at = end;
  }
  return bytes.finish() == entry.digest ? StoredState{} : StoredState{DamageKind::content, 0};
}

std::uint64_t count_names(int folder) {
  const Fd own(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) throw_errno(ExitStatus::data, "read", "a stored folder");
  alignas(dirent64) char buffer[32'768];
  std::uint64_t count = 0;
  for (;;) {
    const ssize_t got = ::getdents64(own.get(), buffer, sizeof buffer);
    if (got < 0) throw_errno(ExitStatus::data, "read", "a stored folder");
    if (got == 0) return count;
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") ++count;
      at += entry->d_reclen;
    }
  }
}

}  // namespace syncropy

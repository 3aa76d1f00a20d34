#include "repository/file-sink.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "model/limits.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr std::size_t copy_bytes = 256U << 10;

void write_at(int fd, std::uint64_t offset, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_errno(ExitStatus::io, "write", path);
    bytes.remove_prefix(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

}  // namespace

FileSink::FileSink(Fd file, Fd predecessor, std::string path) : file_(std::move(file)), predecessor_(std::move(predecessor)), path_(std::move(path)) {
  if (predecessor_) cloned_ = ::ioctl(file_.get(), FICLONE, predecessor_.get()) == 0;
}

void FileSink::hole_until(std::uint64_t offset) {
  if (offset < at_)
    throw Error(ExitStatus::protocol, "the agent sent content of /" + escape(path_) + " out of order",
                "check that it is a Syncropy of a fitting version");
  if (offset == at_) return;
  if (offset - at_ > limits::hole_bytes - holes_)
    throw Error(ExitStatus::protocol, "the agent sent /" + escape(path_) + " with more than 16 TiB of holes",
                "exclude the file from the backup, or check that it is a Syncropy of a fitting version");
  holes_ += offset - at_;
  if (cloned_ && ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at_), static_cast<off_t>(offset - at_)) != 0)
    throw_errno(ExitStatus::io, "punch a hole into", path_);
  hasher_.update_zeros(offset - at_, between_);
  at_ = offset;
}

void FileSink::write_kept() {
  written_any_ = true;
  if (cloned_ || kept_.empty()) return;
  std::string buffer(copy_bytes, '\0');
  for (const Range& range : kept_) {
    for (std::uint64_t done = 0; done < range.length;) {
      const std::uint64_t at = range.offset + done;
      const ssize_t got = ::pread(predecessor_.get(), buffer.data(), std::min<std::uint64_t>(range.length - done, buffer.size()), static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) reject_predecessor();
      write_at(file_.get(), at, {buffer.data(), static_cast<std::size_t>(got)}, path_);
      done += static_cast<std::uint64_t>(got);
      if (between_) between_();
    }
    written_ = range.offset + range.length;
  }
  kept_ = {};
}

void FileSink::reject_predecessor() const {
  throw PredecessorDamaged(ExitStatus::data, "the stored predecessor of /" + escape(path_) + " is shorter than its manifest says or cannot be read");
}

void FileSink::data(std::uint64_t offset, std::string_view bytes) {
  hole_until(offset);
  if (!written_any_) write_kept();
  write_at(file_.get(), at_, bytes, path_);
  hasher_.update(bytes);
  at_ += bytes.size();
  if (!bytes.empty()) written_ = at_;
}

void FileSink::keep(std::uint64_t offset, std::uint64_t length) {
  hole_until(offset);
  if (!predecessor_)
    throw Error(ExitStatus::protocol, "the agent keeps content of /" + escape(path_) + " that was never offered",
                "check that it is a Syncropy of a fitting version");
  if (!written_any_) {
    if (!kept_.empty() && kept_.back().offset + kept_.back().length == offset) kept_.back().length += length;
    else kept_.push_back({offset, length});
    if (kept_.size() > limits::extents) {
      kept_.pop_back();
      write_kept();
    }
  }
  std::string buffer(std::min<std::uint64_t>(length, copy_bytes), '\0');
  while (length > 0) {
    const ssize_t got = ::pread(predecessor_.get(), buffer.data(), std::min<std::uint64_t>(length, buffer.size()), static_cast<off_t>(at_));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) reject_predecessor();
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
    if (written_any_ && !cloned_) write_at(file_.get(), at_, bytes, path_);
    hasher_.update(bytes);
    at_ += bytes.size();
    if (written_any_ && !cloned_) written_ = at_;
    length -= bytes.size();
    if (between_) between_();
  }
}

void FileSink::restart() {
  hasher_ = Hasher();
  at_ = written_ = holes_ = 0;
  kept_ = {};
  cloned_ = written_any_ = false;
  if (::ftruncate(file_.get(), 0) != 0) throw_errno(ExitStatus::io, "truncate", path_);
}

Digest FileSink::discard(std::uint64_t size) {
  hole_until(size);
  file_ = Fd();
  return hasher_.finish();
}

Digest FileSink::finish(std::uint64_t size, Timestamp mtime) {
  hole_until(size);
  if (!written_any_) write_kept();
  // Only where it has another size: ftruncate(2) cost 6 % of all CPU time of a first run of small files.
  if ((cloned_ || written_ != size) && ::ftruncate(file_.get(), static_cast<off_t>(size)) != 0) throw_errno(ExitStatus::io, "set the size of", path_);
  const timespec times[2] = {{0, UTIME_OMIT}, {mtime.seconds, static_cast<long>(mtime.nanoseconds)}};
  // A time the filesystem cannot hold (ext4 with small inodes ends in 2038) is clamped by the kernel; the manifest has it whole.
  if (::futimens(file_.get(), times) != 0) throw_errno(ExitStatus::io, "set the time of", path_);
  file_.close_checked(path_);
  return hasher_.finish();
}

}  // namespace syncropy

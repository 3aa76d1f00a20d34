#include "server/content.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "util/error.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::uint64_t piece_bytes = 1 << 20;
constexpr std::size_t gathered_bytes = 256 << 10;

}  // namespace

ContentReader::ContentReader(Fd file, const Entry& entry) : file_(std::move(file)), entry_(entry) {
  if (entry.stat.size > piece_bytes) ::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
}

// `count` bytes from where it stands.
std::string_view ContentReader::read(std::uint64_t count) {
  buffer_.resize(static_cast<std::size_t>(std::min(count, piece_bytes)));
  std::size_t filled = 0;
  while (readable_ && filled < buffer_.size()) {
    const ssize_t got = ::pread(file_.get(), buffer_.data() + filled, buffer_.size() - filled, static_cast<off_t>(at_ + filled));
    if (got < 0 && errno == EINTR) continue;
    readable_ = got > 0;
    if (readable_) filled += static_cast<std::size_t>(got);
  }
  std::memset(buffer_.data() + filled, 0, buffer_.size() - filled);
  hasher_.update(buffer_);
  at_ += buffer_.size();
  return buffer_;
}

bool ContentReader::next(Piece& piece) {
  piece = {};
  const std::uint64_t size = entry_.stat.size;
  if (at_ == size) return false;
  if (!entry_.details.sparse) {
    piece.data = read(size - at_);
    return true;
  }
  const std::vector<Extent>& extents = entry_.details.extents;
  const std::uint64_t start = next_extent_ < extents.size() ? extents[next_extent_].offset : size;
  if (start > at_) {
    piece.hole = start - at_;
    hasher_.update_zeros(piece.hole);
    at_ = start;
  }
  if (next_extent_ == extents.size()) return true;
  const std::uint64_t end = start + extents[next_extent_].length;
  // Standing inside an extent, `start` is behind.
  piece.data = read(end - at_);
  if (at_ == end) ++next_extent_;
  return true;
}

bool ContentReader::is_intact() {
  return readable_ && at_ == entry_.stat.size && entry_.digest && hasher_.finish() == *entry_.digest;
}

std::uint64_t data_bytes(const Entry& entry) {
  if (!entry.details.sparse) return entry.stat.size;
  std::uint64_t bytes = 0;
  for (const Extent& extent : entry.details.extents) bytes += extent.length;
  return bytes;
}

void OutputStream::put(std::string_view bytes) const {
  try {
    write_all(fd_, bytes, name_);
  } catch (const SystemError& error) {
    if (error.code() != EPIPE) throw;
    throw Error(ExitStatus::io, name_ + " was closed before everything was written", "the program that reads it ended: its own message says why");
  }
}

void OutputStream::write(std::string_view bytes) {
  position_ += bytes.size();
  if (gathered_.size() + bytes.size() > gathered_bytes) flush();
  if (bytes.size() > gathered_bytes) put(bytes);
  else gathered_ += bytes;
}

void OutputStream::flush() {
  const std::string bytes = std::exchange(gathered_, {});
  put(bytes);
}

void OutputStream::write_zeros(std::uint64_t count) {
  const std::string zeros(static_cast<std::size_t>(std::min<std::uint64_t>(count, gathered_bytes)), '\0');
  for (; count > 0; count -= std::min<std::uint64_t>(count, zeros.size())) write(std::string_view(zeros).substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(count, zeros.size()))));
}

}  // namespace syncropy

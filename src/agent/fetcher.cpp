#include "agent/fetcher.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "model/limits.hpp"
#include "scan/folder-reader.hpp"
#include "scan/statx.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

constexpr int attempts = 3;                // a file that changes while it is read is read so often, then stored as it was
constexpr std::int64_t racy_seconds = 2;   // no filesystem's timestamps are coarser

Timestamp now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return {time.tv_sec, static_cast<std::uint32_t>(time.tv_nsec)};
}

// A later change within the timestamp's grain could leave the ctime as it is.
bool is_racy(const Stat& stat, const Timestamp& at) { return Timestamp{stat.ctime.seconds + racy_seconds, stat.ctime.nanoseconds} > at; }

bool unchanged(const Stat& before, const Stat& after) {
  return before.ctime == after.ctime && before.mtime == after.mtime && before.size == after.size;
}

// A file that cannot be read, as opposed to a session that cannot go on.
struct ReadFailed {
  int code;
  const char* tried;
};

std::size_t read_at(int fd, std::uint64_t offset, char* into, std::size_t count) {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(fd, into + done, count - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw ReadFailed{errno, "read"};
    if (got == 0) break;  // truncated meanwhile: the closing stat tells
    done += static_cast<std::size_t>(got);
  }
  return done;
}

// What hashing will take for the holes of a file: an unprivileged user makes 8 EiB of them with one call.
void check_holes(const Stat& stat, std::uint64_t allocated, const Details& details) {
  if (!details.sparse || stat.size <= limits::hole_bytes) return;
  std::uint64_t data = 0;
  for (const Extent& extent : details.extents) data += extent.length;
  // Extents beyond their bound were merged, with the holes between them.
  if (details.extents.size() >= limits::extents) data = std::min(data, allocated);
  if (stat.size - std::min(data, stat.size) > limits::hole_bytes) throw ReadFailed{EFBIG, "hash the holes of"};
}

}  // namespace

// One attempt at a regular file.
struct Fetcher::Reading {
  Stat stat;
  Details details;
  Timestamp at;
  Digest digest{};
  Content content = Content::streamed;
  bool streamed_any = false;
};

void Fetcher::send_failed(const FetchRequest& request, int code, std::string_view tried) {
  ByteWriter head;
  put(head, FetchFailed{request.id, static_cast<std::uint32_t>(code), std::string(tried)});
  out_.send(MessageType::failed, head.view());
}

void Fetcher::answer(const FetchRequest& request) {
  if (!access_.allows(request.path) && !(request.type == FileType::folder && access_.allows_as_ancestor(request.path)))
    return send_failed(request, EACCES, "be allowed by the agent's policy to read");
  const int folder = folders_.move_to(parent_of(request.path));
  if (folder < 0) return send_failed(request, errno, "open");
  const std::string name = request.path.empty() ? "." : std::string(name_of(request.path));
  try {
    if (request.type != FileType::regular) {
      const int flags = request.type == FileType::folder ? O_RDONLY | O_DIRECTORY : O_PATH;
      const Fd fd(::openat(folder, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) return send_failed(request, errno, "open");
      return answer_other(request, fd.get());
    }
    // Opening may do something: it lets go of a FIFO's writer, rewinds a tape, starts a kernel file's work. What is there is looked at first.
    Stat listed;
    if (const int code = read_stat(folder, name.c_str(), listed)) return send_failed(request, code, "open");
    if (listed.type != FileType::regular) return send_failed(request, type_changed, "find the listed type of");
    if (!may_enter(folder, name, listed.filesystem)) return send_failed(request, EACCES, "be let into the kernel's own filesystem to read");
    const Fd fd(::openat(folder, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return send_failed(request, errno == ELOOP ? type_changed : errno, "open");
    answer_regular(request, fd.get());
  } catch (const ReadFailed& failure) {
    send_failed(request, failure.code, failure.tried);
  } catch (const SystemError& error) {
    if (error.status() == ExitStatus::protocol || error.status() == ExitStatus::refused) throw;
    send_failed(request, error.code(), "read the attributes of");
  } catch (const Error& error) {
    if (error.status() != ExitStatus::data) throw;
    send_failed(request, E2BIG, "read all extended attributes of");
  }
}

void Fetcher::answer_other(const FetchRequest& request, int fd) {
  FetchedFile answer;
  answer.id = request.id;
  answer.stat = stat_of(fd);
  if (answer.stat.type != request.type) return send_failed(request, type_changed, "find the listed type of");
  answer.flags = is_racy(answer.stat, now()) ? racy : 0;
  answer.details = read_details(fd, answer.stat, request.acl, names_);
  ByteWriter head;
  put(head, answer);
  out_.send(MessageType::file, head.view());
}

// Asked once for each filesystem.
bool Fetcher::may_enter(int folder, const std::string& name, std::uint64_t filesystem) {
  const auto known = entered_.find(filesystem);
  if (known != entered_.end()) return known->second;
  const Fd fd(::openat(folder, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || stat_of(fd.get()).filesystem != filesystem) return true;  // gone, or another by now: opening it tells
  return entered_.emplace(filesystem, !is_kernel_filesystem(fd.get())).first->second;
}

void Fetcher::answer_regular(const FetchRequest& request, int fd) {
  Reading reading;
  bool stable = false, begun = false;
  for (int attempt = 1; attempt <= attempts && !stable; ++attempt) {
    if (reading.streamed_any) {
      ByteWriter head;
      put_id(head, request.id);
      out_.send(MessageType::restart, head.view());
    }
    reading = Reading{};
    reading.streamed_any = begun;
    reading.at = now();
    std::uint64_t allocated = 0;
    reading.stat = stat_of(fd, &allocated);
    if (reading.stat.type != FileType::regular) return send_failed(request, type_changed, "find the listed type of");
    reading.details = read_details(fd, reading.stat, request.acl, names_);
    read_extents(fd, reading.stat, allocated, reading.details);
    check_holes(reading.stat, allocated, reading.details);
    begun = send_content(request, fd, reading) || begun;
    reading.streamed_any = begun;
    stable = unchanged(reading.stat, stat_of(fd));
  }
  FetchedFile answer;
  answer.id = request.id;
  answer.stat = reading.stat;
  answer.flags = static_cast<std::uint8_t>((is_racy(reading.stat, reading.at) ? racy : 0) | (stable ? 0 : unstable));
  answer.details = std::move(reading.details);
  answer.content = reading.content;
  answer.digest = reading.digest;
  if (!stable && answer.details.sparse) {
    // What was read may lie elsewhere by now: the extents must not claim more than the size that was stored.
    answer.details.sparse = false;
    answer.details.extents.clear();
  }
  ByteWriter head;
  put(head, answer);
  if (answer.content == Content::here) out_.send(MessageType::file, head.view(), buffer_);
  else out_.send(answer.content == Content::streamed ? MessageType::end : MessageType::file, head.view());
}

// Reads the content once, sending it as it goes unless it is small (buffer_ keeps it) or known. True when something was sent.
bool Fetcher::send_content(const FetchRequest& request, int fd, Reading& reading) {
  Stat& stat = reading.stat;
  Hasher hasher;
  if (stat.size <= limits::inline_bytes && !reading.streamed_any) {
    buffer_.resize(stat.size);
    buffer_.resize(read_at(fd, 0, buffer_.data(), buffer_.size()));
    stat.size = buffer_.size();
    hasher.update(buffer_);
    reading.digest = hasher.finish();
    reading.content = request.known && *request.known == reading.digest ? Content::same : Content::here;
    return false;
  }

  std::vector<Extent> extents = reading.details.extents;
  if (!reading.details.sparse) extents = {{0, stat.size}};
  buffer_.resize(limits::data_bytes);

  auto for_each_piece = [&](std::uint64_t begin, std::uint64_t end, auto&& use) {
    for (std::uint64_t at = begin; at < end;) {
      const std::size_t want = std::min<std::uint64_t>(end - at, buffer_.size());
      const std::size_t got = read_at(fd, at, buffer_.data(), want);
      if (got > 0) use(at, std::string_view(buffer_.data(), got));
      at += got;
      if (between_) between_();
      if (got < want) return false;
    }
    return true;
  };
  // Holes are part of the content and of its digest, and are never read.
  std::uint64_t hashed = 0;
  auto hash = [&](std::uint64_t at, std::string_view bytes) {
    hasher.update_zeros(at - hashed, between_);
    hasher.update(bytes);
    hashed = at + bytes.size();
  };
  auto hash_to_end = [&] {
    if (stat.size > hashed) hasher.update_zeros(stat.size - hashed, between_);
    return hasher.finish();
  };

  // Without block digests, knowing that nothing changed is worth a reading of its own.
  if (request.known && request.blocks.empty() && !reading.streamed_any) {
    for (const Extent& extent : extents)
      if (!for_each_piece(extent.offset, extent.offset + extent.length, hash)) break;
    reading.digest = hash_to_end();
    if (reading.digest == *request.known) {
      reading.content = Content::same;
      return false;
    }
    hasher = Hasher();
    hashed = 0;
  }

  ByteWriter head;
  auto send_data = [&](std::uint64_t at, std::string_view bytes) {
    head.clear();
    put_data_head(head, request.id, at);
    out_.send(MessageType::data, head.view(), bytes);
    hash(at, bytes);
  };
  if (!reading.streamed_any) {
    put_id(head, request.id);
    out_.send(MessageType::begin, head.view());
  }
  bool whole = true;
  for (const Extent& extent : extents) {
    const std::uint64_t extent_end = extent.offset + extent.length;
    for (std::uint64_t at = extent.offset; whole && at < extent_end;) {
      if (request.blocks.empty()) {
        whole = for_each_piece(at, extent_end, send_data);
        break;
      }
      // Block by block: one that the server has is hashed and kept; any other is read again and sent.
      const std::uint64_t block = at / request.block_bytes;
      const std::uint64_t end = std::min(extent_end, (block + 1) * request.block_bytes);
      const bool comparable = block < request.blocks.size() && at == block * request.block_bytes &&
                              (end == (block + 1) * request.block_bytes || end == stat.size);
      bool same = false;
      if (comparable) {
        const Hasher before = hasher;
        const std::uint64_t hashed_before = hashed;
        Hasher block_hasher;
        const bool read_whole = for_each_piece(at, end, [&](std::uint64_t piece, std::string_view bytes) {
          hash(piece, bytes);
          block_hasher.update(bytes);
        });
        const Digest digest = block_hasher.finish();
        same = read_whole && std::equal(request.blocks[block].begin(), request.blocks[block].end(), digest.begin());
        if (!same) {
          hasher = before;
          hashed = hashed_before;
        }
      }
      if (same) {
        head.clear();
        put(head, Keep{request.id, at, end - at});
        out_.send(MessageType::keep, head.view());
      } else {
        whole = for_each_piece(at, end, send_data);
      }
      at = end;
    }
    if (!whole) break;
  }
  if (!whole) stat.size = hashed;  // truncated while it was read
  reading.digest = hash_to_end();
  reading.content = Content::streamed;
  return true;
}

}  // namespace syncropy

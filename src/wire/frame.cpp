#include "wire/frame.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "util/compress.hpp"
#include "util/error.hpp"
#include "util/format.hpp"

namespace syncropy {
namespace {

constexpr std::uint8_t packed_bit = 0x80;          // on the type byte: the payload is one Zstandard frame
constexpr std::size_t head_bytes = 5;              // u32 length of the payload, u8 type
constexpr std::size_t gather_bytes = 128U << 10;
constexpr std::chrono::seconds heartbeat_interval{15};
constexpr std::size_t worth_packing = 256;
constexpr int pack_level = 1;                      // the wire waits for it

bool is_known(std::uint8_t type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::hello: case MessageType::error: case MessageType::bye: case MessageType::alive: case MessageType::run: case MessageType::output:
    case MessageType::ran: case MessageType::list: case MessageType::entries: case MessageType::problem: case MessageType::listed:
    case MessageType::credit: case MessageType::fetch: case MessageType::file: case MessageType::begin: case MessageType::data:
    case MessageType::keep: case MessageType::restart: case MessageType::end: case MessageType::failed: case MessageType::restore: case MessageType::ready:
    case MessageType::place: case MessageType::want: case MessageType::content: case MessageType::content_end: case MessageType::outcome:
    case MessageType::removed: case MessageType::finish: case MessageType::finished: case MessageType::enrol: case MessageType::renew: case MessageType::issued:
      return true;
  }
  return false;
}

}  // namespace

bool FrameReader::fill(char* into, std::size_t count, bool end_allowed) {
  for (std::size_t done = 0; done < count;) {
    if (at_ == filled_) {
      at_ = 0;
      filled_ = stream_.read_some(std::as_writable_bytes(std::span(buffer_)));
      bytes_ += filled_;
      if (filled_ == 0) {
        if (end_allowed && done == 0) return false;
        throw Error(ExitStatus::protocol, "the peer ended the connection in the middle of a message", "look into its journal, then run again");
      }
    }
    const std::size_t take = std::min(count - done, filled_ - at_);
    std::memcpy(into + done, buffer_.data() + at_, take);
    at_ += take;
    done += take;
  }
  return true;
}

bool FrameReader::next(Frame& frame) {
  const auto give_up = std::chrono::steady_clock::now() + patience_;
  do {
    if (!next_of_any_type(frame)) return false;
    if (frame.type == MessageType::alive && std::chrono::steady_clock::now() > give_up)
      throw Error(ExitStatus::protocol, "the peer said for " + std::to_string(patience_.count()) + " seconds that it is alive, and nothing else", "restart it, and look into its journal");
  } while (frame.type == MessageType::alive);
  return true;
}

bool FrameReader::next_of_any_type(Frame& frame) {
  unsigned char head[head_bytes];
  if (!fill(reinterpret_cast<char*>(head), head_bytes, true)) return false;
  const std::uint32_t length = head[0] | static_cast<std::uint32_t>(head[1]) << 8 | static_cast<std::uint32_t>(head[2]) << 16 | static_cast<std::uint32_t>(head[3]) << 24;
  const auto type = static_cast<std::uint8_t>(head[4] & ~packed_bit);
  if (!is_known(type))
    throw Error(ExitStatus::protocol, "the peer sent a message of unknown type " + std::to_string(type), "check that it is a Syncropy of a fitting version");
  if (length > most_)
    throw Error(ExitStatus::protocol, "the peer sent a message of " + std::to_string(length) + " bytes where " + format_bytes(most_) + " is the limit", "check that it is a Syncropy of a fitting version");
  if ((head[4] & packed_bit) && !compressed_)
    throw Error(ExitStatus::protocol, "the peer sent a packed message that was not agreed on", "check that it is a Syncropy of a fitting version");
  frame.type = static_cast<MessageType>(type);
  frame.payload.resize(length);
  fill(frame.payload.data(), length, false);
  if (head[4] & packed_bit) frame.payload = decompress(frame.payload, limits::frame_bytes, ExitStatus::protocol, "a packed message of the peer");
  return true;
}

void FrameWriter::send(MessageType type, std::string_view head, std::string_view body) {
  const std::size_t size = head.size() + body.size();
  if (size > limits::frame_bytes) throw Error(ExitStatus::internal, "a message of " + std::to_string(size) + " bytes exceeds 1 MiB");
  std::string packed;
  if (compress_ && size >= worth_packing) {
    packed = compress(std::string(head).append(body), pack_level);
    if (packed.size() >= size) packed.clear();
  }
  const std::size_t length = packed.empty() ? size : packed.size();
  const std::lock_guard lock(mutex_);
  for (int shift = 0; shift < 32; shift += 8) queued_ += static_cast<char>(length >> shift);
  queued_ += static_cast<char>(static_cast<std::uint8_t>(type) | (packed.empty() ? 0 : packed_bit));
  if (packed.empty()) queued_.append(head).append(body);
  else queued_ += packed;
  if (queued_.size() >= gather_bytes) write_out();
}

void FrameWriter::flush() {
  const std::lock_guard lock(mutex_);
  if (!queued_.empty()) write_out();
}

void FrameWriter::write_out() {
  stream_.write_all(std::as_bytes(std::span(queued_)));
  queued_.clear();
  ++writes_;
}

Heartbeat::Heartbeat(FrameWriter& out) : thread_([this, &out] {
  std::unique_lock lock(mutex_);
  for (std::uint64_t seen = out.writes();; seen = out.writes()) {
    if (changed_.wait_for(lock, heartbeat_interval, [this] { return ended_; })) return;
    if (out.writes() != seen) continue;
    try {
      out.send(MessageType::alive, {});
      out.flush();
    } catch (const Error&) {
      return;  // the session's own threads meet the same error and report it
    }
  }
}) {}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

}  // namespace syncropy

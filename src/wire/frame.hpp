#pragma once
// Length-prefixed frames over a byte stream: syncropy-protocol(7), "Frames".

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "util/stream.hpp"

namespace syncropy {

enum class MessageType : std::uint8_t {
  hello = 0x01,
  error = 0x02,
  bye = 0x03,
  alive = 0x04,
  run = 0x10,
  output = 0x11,
  ran = 0x12,
  list = 0x20,
  entries = 0x21,
  problem = 0x22,
  listed = 0x23,
  credit = 0x24,
  fetch = 0x30,
  file = 0x31,
  begin = 0x32,
  data = 0x33,
  keep = 0x34,
  restart = 0x35,
  end = 0x36,
  failed = 0x37,
  restore = 0x40,
  ready = 0x41,
  place = 0x42,
  want = 0x43,
  content = 0x44,
  content_end = 0x45,
  outcome = 0x46,
  removed = 0x47,
  finish = 0x48,
  finished = 0x49,
  enrol = 0x50,
  renew = 0x51,
  issued = 0x52,
};

namespace limits {
inline constexpr std::size_t frame_bytes = 1U << 20;  // payload, unpacked too
}

struct Frame {
  MessageType type{};
  std::string payload;
};

class FrameReader {
 public:
  // `patience`: how long a peer may say nothing but `alive`. A command may run for a day.
  explicit FrameReader(ByteStream& stream, std::chrono::seconds patience = std::chrono::hours(25))
      : stream_(stream), patience_(patience), buffer_(256U << 10, '\0') {}
  // From now on packed payloads are taken: both greetings have agreed on them.
  void enable_compression() { compressed_ = true; }
  // A limit below limits::frame_bytes, for a peer of whom nothing is known yet.
  void take_at_most(std::size_t bytes) { most_ = bytes; }
  // The next whole frame that is not `alive`, unpacked; false at the peer's orderly end between two frames. Throws Error(protocol) for an
  // end inside a frame, a frame above the limit, an unknown type, a packed one that was not agreed on, and for lost patience.
  [[nodiscard]] bool next(Frame& frame);
  // Bytes taken from the stream so far.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  bool next_of_any_type(Frame& frame);
  bool fill(char* into, std::size_t count, bool end_allowed);

  ByteStream& stream_;
  std::chrono::seconds patience_;
  std::string buffer_;
  std::size_t at_ = 0, filled_ = 0;
  std::size_t most_ = limits::frame_bytes;
  std::uint64_t bytes_ = 0;
  bool compressed_ = false;
};

// Thread-safe. Gathers frames and hands them on in large writes, so that TLS records are full.
class FrameWriter {
 public:
  explicit FrameWriter(ByteStream& stream) : stream_(stream) {}
  // From now on payloads are packed with Zstandard where that makes them smaller.
  void enable_compression() { compress_ = true; }
  // Queues one frame of payload `head` then `body`; writes when 128 KiB have gathered.
  void send(MessageType type, std::string_view head, std::string_view body = {});
  // Hands everything queued to the stream.
  void flush();
  // Counts writes to the stream: a heartbeat sees whether the peer has heard anything lately.
  [[nodiscard]] std::uint64_t writes() const { return writes_; }

 private:
  void write_out();

  ByteStream& stream_;
  std::mutex mutex_;
  std::string queued_;
  std::atomic<std::uint64_t> writes_ = 0;
  bool compress_ = false;
};

// While it lives, a peer that would hear nothing for 15 seconds gets an `alive` frame: silence beyond the stall time then means that
// the other machine, or the way to it, is gone, and not that it works on something long.
class Heartbeat {
 public:
  explicit Heartbeat(FrameWriter& out);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace syncropy

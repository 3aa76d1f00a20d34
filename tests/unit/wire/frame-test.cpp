#include "wire/frame.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "util/error.hpp"

namespace syncropy {
namespace {

// What one side wrote, read back in pieces of a chosen size.
class MemoryStream : public ByteStream {
 public:
  std::size_t read_some(std::span<std::byte> into) override {
    const std::size_t take = std::min({into.size(), piece, bytes.size() - at});
    std::memcpy(into.data(), bytes.data() + at, take);
    at += take;
    return take;
  }
  void write_all(std::span<const std::byte> from) override {
    bytes.append(reinterpret_cast<const char*>(from.data()), from.size());
    ++writes;
  }
  void finish() noexcept override {}
  void abort() noexcept override {}
  std::string bytes;
  std::size_t at = 0, piece = 7, writes = 0;
};

TEST(Frame, FramesComeBackInOrderAndLeaveInLargeWrites) {
  MemoryStream stream;
  FrameWriter out(stream);
  for (int i = 0; i < 2'000; ++i) out.send(MessageType::data, "head", std::string(static_cast<std::size_t>(i), 'x'));
  out.send(MessageType::alive, {});
  out.send(MessageType::bye, {});
  out.flush();
  EXPECT_LT(stream.writes, 20U);
  stream.piece = 1'000;
  FrameReader in(stream);
  Frame frame;
  for (std::size_t i = 0; i < 2'000; ++i) {
    ASSERT_TRUE(in.next(frame));
    ASSERT_EQ(frame.payload, "head" + std::string(i, 'x'));
  }
  ASSERT_TRUE(in.next(frame));
  EXPECT_EQ(frame.type, MessageType::bye) << "alive is not handed on";
  EXPECT_FALSE(in.next(frame));
  EXPECT_EQ(in.bytes(), stream.bytes.size());
}

TEST(Frame, APeerThatIsOnlyAliveLosesItsListener) {
  MemoryStream stream;
  FrameWriter out(stream);
  for (int i = 0; i < 100'000; ++i) out.send(MessageType::alive, {});
  out.flush();
  stream.piece = 5;
  FrameReader in(stream, std::chrono::seconds(0));
  Frame frame;
  EXPECT_THROW(static_cast<void>(in.next(frame)), Error);
}

TEST(Frame, AConnectionCutAtAnyByteIsNeverAnOrderlyEnd) {
  MemoryStream whole;
  FrameWriter out(whole);
  out.send(MessageType::hello, "hello");
  out.send(MessageType::data, "some content");
  out.flush();
  for (std::size_t length = 0; length <= whole.bytes.size(); ++length) {
    MemoryStream cut;
    cut.bytes = whole.bytes.substr(0, length);
    FrameReader in(cut);
    Frame frame;
    const bool between_frames = length == 0 || length == 10 || length == whole.bytes.size();
    if (between_frames) EXPECT_NO_THROW(while (in.next(frame)) {}) << length;
    else EXPECT_THROW(while (in.next(frame)) {}, Error) << length;
  }
}

TEST(Frame, PackedPayloadsUnpackWithinTheLimit) {
  MemoryStream stream;
  FrameWriter out(stream);
  out.enable_compression();
  const std::string text(limits::frame_bytes, 'x');
  out.send(MessageType::data, text);
  out.send(MessageType::data, "short");
  out.flush();
  EXPECT_LT(stream.bytes.size(), 10'000U);
  FrameReader in(stream);
  in.enable_compression();
  Frame frame;
  ASSERT_TRUE(in.next(frame));
  EXPECT_EQ(frame.payload, text);
  ASSERT_TRUE(in.next(frame));
  EXPECT_EQ(frame.payload, "short");
}

TEST(Frame, TooLongOrUnknownIsRefused) {
  for (const char* head : {"\x01\x00\x10\x00\x33", "\xff\xff\xff\xff\x33", "\x00\x00\x00\x00\x7e", "\x00\x00\x00\x00\x00"}) {
    MemoryStream stream;
    stream.bytes = std::string(head, 5) + std::string(100, 'x');
    FrameReader in(stream);
    Frame frame;
    EXPECT_THROW(static_cast<void>(in.next(frame)), Error);
  }
  MemoryStream stream;
  FrameWriter out(stream);
  EXPECT_THROW(out.send(MessageType::data, std::string(limits::frame_bytes + 1, 'x')), Error);
}

}  // namespace
}  // namespace syncropy

#include "agent/fetcher.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

class MemoryStream : public ByteStream {
 public:
  std::size_t read_some(std::span<std::byte> into) override {
    const std::size_t take = std::min(into.size(), bytes.size() - at);
    std::memcpy(into.data(), bytes.data() + at, take);
    at += take;
    return take;
  }
  void write_all(std::span<const std::byte> from) override { bytes.append(reinterpret_cast<const char*>(from.data()), from.size()); }
  void finish() noexcept override {}
  void abort() noexcept override {}
  std::string bytes;
  std::size_t at = 0;
};

// The answer to one request, its content put together.
struct Answer {
  MessageType closing{};
  std::string payload;
  FetchedFile file;
  FetchFailed failed;
  std::string content;
  std::uint64_t sent = 0, kept = 0;
};

class Fetching : public testing::Test {
 protected:
  Answer fetch(FetchRequest request) {
    request.id = 9;
    MemoryStream stream;
    FrameWriter out(stream);
    AgentPolicy policy;
    policy.deny = denied;
    const ReadAccess access(policy);
    Fetcher fetcher(root, access, out);
    fetcher.answer(request);
    out.flush();
    FrameReader in(stream);
    Frame frame;
    Answer answer;
    while (in.next(frame)) {
      if (frame.type == MessageType::data) {
        const Data data = get_data(frame.payload);
        EXPECT_GE(data.offset, answer.content.size());
        answer.content.resize(data.offset, '\0');
        answer.content += data.bytes;
        answer.sent += data.bytes.size();
      } else if (frame.type == MessageType::keep) {
        const Keep keep = get_keep(frame.payload);
        answer.content.resize(keep.offset, '\0');
        answer.content += before.substr(keep.offset, keep.length);
        answer.kept += keep.length;
      } else if (frame.type == MessageType::restart) {
        answer.content.clear();
      } else if (frame.type == MessageType::failed) {
        answer.closing = frame.type;
        answer.failed = get_fetch_failed(frame.payload);
      } else if (frame.type != MessageType::begin) {
        answer.closing = frame.type;
        answer.payload = frame.payload;
        answer.file = get_fetched_file(answer.payload);
        if (answer.file.content == Content::here) answer.content = answer.file.bytes;
        if (answer.file.content == Content::streamed) answer.content.resize(answer.file.stat.size, '\0');
      }
    }
    return answer;
  }
  void write(const std::string& name, const std::string& content) { std::ofstream(scratch.path() + "/" + name, std::ios::binary) << content; }
  static FetchRequest regular(const std::string& path) { return {0, path, FileType::regular, true, {}, 0, {}}; }
  static FetchRequest with_blocks(const std::string& path, const std::string& content) {
    FetchRequest request{0, path, FileType::regular, true, digest_of(content), limits::smallest_block, {}};
    for (std::size_t at = 0; at < content.size(); at += limits::smallest_block) {
      const Digest digest = digest_of(std::string_view(content).substr(at, limits::smallest_block));
      std::copy_n(digest.begin(), 16, request.blocks.emplace_back().begin());
    }
    return request;
  }

  Scratch scratch;
  Fd root{::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY)};
  std::vector<std::string> denied;
  std::string before;
};

TEST_F(Fetching, SmallFilesComeWholeAndKnownOnesNotAtAll) {
  write("f", "content");
  const Answer whole = fetch(regular("f"));
  EXPECT_EQ(whole.content, "content");
  EXPECT_EQ(whole.file.digest, digest_of("content"));
  EXPECT_TRUE(whole.file.flags & racy) << "it was written this moment";
  FetchRequest known = regular("f");
  known.known = digest_of("content");
  EXPECT_EQ(fetch(known).file.content, Content::same);
  known.known = digest_of("other");
  EXPECT_EQ(fetch(known).content, "content");
  write("empty", "");
  EXPECT_EQ(fetch(regular("empty")).file.digest, digest_of(""));
}

TEST_F(Fetching, LargeFilesAreStreamedAndKnownOnesOnlyRead) {
  std::string content;
  for (int i = 0; content.size() < (3U << 20) + 17; ++i) content += std::to_string(i);
  write("f", content);
  const Answer whole = fetch(regular("f"));
  EXPECT_EQ(whole.closing, MessageType::end);
  EXPECT_TRUE(whole.content == content);
  EXPECT_EQ(whole.file.digest, digest_of(content));
  FetchRequest known = regular("f");
  known.known = digest_of(content);
  const Answer same = fetch(known);
  EXPECT_EQ(same.file.content, Content::same);
  EXPECT_EQ(same.sent, 0U);
}

TEST_F(Fetching, OnlyChangedBlocksAreSent) {
  before = std::string(6U << 20, 'a');
  for (std::size_t i = 0; i < before.size(); i += 1000) before[i] = static_cast<char>('b' + i % 17);
  std::string now = before;
  now.replace(3'500'000, 5, "XXXXX");
  now += "grown";
  write("f", now);
  const Answer answer = fetch(with_blocks("f", before));
  EXPECT_TRUE(answer.content == now);
  EXPECT_EQ(answer.file.digest, digest_of(now));
  EXPECT_EQ(answer.sent, (1U << 20) + 5);
  now.resize(2'500'000);
  write("f", now);
  const Answer shrunk = fetch(with_blocks("f", before));
  EXPECT_TRUE(shrunk.content == now);
  EXPECT_EQ(shrunk.file.digest, digest_of(now));
}

TEST_F(Fetching, HolesAreNotSent) {
  const std::string path = scratch.path() + "/sparse";
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT, 0600));
  ASSERT_EQ(::ftruncate(fd.get(), 64 << 20), 0);
  ASSERT_EQ(::pwrite(fd.get(), "middle", 6, 32 << 20), 6);
  const Answer answer = fetch(regular("sparse"));
  EXPECT_LT(answer.sent, 1U << 20);
  ASSERT_EQ(answer.content.size(), 64U << 20);
  EXPECT_EQ(answer.content.substr(32U << 20, 6), "middle");
  EXPECT_EQ(answer.file.digest, digest_of(answer.content));
  EXPECT_TRUE(answer.file.details.sparse);
}

TEST_F(Fetching, WhatIsNotARegularFileHasAttributesOnly) {
  std::filesystem::create_symlink("to/nowhere", scratch.path() + "/link");
  ASSERT_EQ(::mkfifo((scratch.path() + "/fifo").c_str(), 0640), 0);
  std::filesystem::create_directory(scratch.path() + "/folder");
  EXPECT_EQ(fetch({0, "link", FileType::symlink, true, {}, 0, {}}).file.details.link_target, "to/nowhere");
  EXPECT_EQ(fetch({0, "fifo", FileType::fifo, true, {}, 0, {}}).file.stat.mode, 0640);
  EXPECT_EQ(fetch({0, "folder", FileType::folder, true, {}, 0, {}}).file.stat.type, FileType::folder);
  EXPECT_EQ(fetch({0, "", FileType::folder, true, {}, 0, {}}).file.stat.type, FileType::folder);
}

TEST_F(Fetching, WhatIsGoneForbiddenOrSomethingElseFailsByItself) {
  write("f", "x");
  write("secret", "x");
  std::filesystem::create_symlink("f", scratch.path() + "/link");
  ASSERT_EQ(::mkfifo((scratch.path() + "/fifo").c_str(), 0600), 0);
  denied = {"/secret"};
  EXPECT_EQ(fetch(regular("none")).failed.code, static_cast<std::uint32_t>(ENOENT));
  EXPECT_EQ(fetch(regular("secret")).failed.code, static_cast<std::uint32_t>(EACCES));
  EXPECT_EQ(fetch(regular("link")).failed.code, type_changed);
  EXPECT_EQ(fetch(regular("fifo")).failed.code, type_changed) << "and does not wait for a writer";
  EXPECT_EQ(fetch({0, "f", FileType::folder, true, {}, 0, {}}).failed.code, static_cast<std::uint32_t>(ENOTDIR));
  EXPECT_EQ(fetch(regular("f/x")).closing, MessageType::failed);
}

TEST_F(Fetching, AFileThatNeverRestsIsTakenAndFlagged) {
  constexpr unsigned size = 32U << 20;  // a busy machine does not let the writer run at every moment
  write("busy", std::string(size, 'x'));
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    const Fd fd(::open((scratch.path() + "/busy").c_str(), O_WRONLY));
    for (unsigned i = 0; !stop; ++i) static_cast<void>(!::pwrite(fd.get(), "yyyy", 4, i % size));
  });
  Answer answer = fetch(regular("busy"));
  for (int again = 0; again < 5 && !(answer.file.flags & unstable); ++again) answer = fetch(regular("busy"));
  stop = true;
  writer.join();
  EXPECT_TRUE(answer.file.flags & unstable);
  EXPECT_EQ(answer.file.digest, digest_of(answer.content)) << "what was sent is what the digest says";
}

TEST_F(Fetching, AFileThatShrinksMeanwhileIsStillOneAnswer) {
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (unsigned i = 0; !stop; ++i) static_cast<void>(!::truncate((scratch.path() + "/shrinks").c_str(), i % 2 ? 100'000 : 3'000'000));
  });
  write("shrinks", std::string(3'000'000, 'x'));
  for (int i = 0; i < 20; ++i) {
    const Answer answer = fetch(regular("shrinks"));
    EXPECT_EQ(answer.file.stat.size, answer.content.size());
    EXPECT_EQ(answer.file.digest, digest_of(answer.content));
  }
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace syncropy

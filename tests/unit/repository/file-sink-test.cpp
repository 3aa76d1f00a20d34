#include "repository/file-sink.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

class Sink : public testing::Test {
 protected:
  Fd create(const std::string& name) { return Fd(::open((scratch.path() + "/" + name).c_str(), O_WRONLY | O_CREAT | O_EXCL, 0400)); }
  std::string content(const std::string& name) {
    const Fd fd(::open((scratch.path() + "/" + name).c_str(), O_RDONLY));
    return read_all(fd.get(), 100U << 20, ExitStatus::data, name);
  }
  struct stat stat_of(const std::string& name) {
    struct stat st{};
    EXPECT_EQ(::stat((scratch.path() + "/" + name).c_str(), &st), 0);
    return st;
  }
  Scratch scratch;
};

TEST_F(Sink, HolesHaveABoundTogether) {
  const std::uint64_t most = UINT64_C(16) << 40;
  int calls = 0;
  for (const std::uint64_t at : {most + 1, UINT64_C(1) << 62}) {
    FileSink sink(create("f" + std::to_string(at)), Fd(), "f");
    EXPECT_THROW(sink.data(at, "x"), Error);
    EXPECT_THROW(static_cast<void>(sink.finish(at, {})), Error);
  }
  FileSink sink(create("f"), Fd(), "f");
  sink.call_between([&] { if (++calls == 2) throw 1; });
  EXPECT_THROW(sink.data(most, "x"), int) << "within the bound, and left";
}

TEST_F(Sink, HolesStayHolesAndCountInTheDigest) {
  FileSink sink(create("f"), Fd(), "f");
  sink.data(1U << 20, "middle");
  const Digest digest = sink.finish(10U << 20, {1'234'567'890, 987'654'321});
  std::string whole(10U << 20, '\0');
  whole.replace(1U << 20, 6, "middle");
  EXPECT_EQ(content("f"), whole);
  EXPECT_EQ(digest, digest_of(whole));
  EXPECT_LT(stat_of("f").st_blocks * 512, 1 << 20);
  EXPECT_EQ(stat_of("f").st_mtim.tv_sec, 1'234'567'890);
  EXPECT_EQ(stat_of("f").st_mtim.tv_nsec, 987'654'321);
  EXPECT_EQ(stat_of("f").st_mode & 07777, 0400U);
}

TEST_F(Sink, OnlyChangedRangesTravel) {
  std::string old(3U << 20, 'o');
  {
    FileSink sink(create("old"), Fd(), "old");
    sink.data(0, old);
    static_cast<void>(sink.finish(old.size(), {1, 0}));
  }
  FileSink sink(create("new"), Fd(::open((scratch.path() + "/old").c_str(), O_RDONLY)), "new");
  sink.keep(0, 1U << 20);
  sink.data(1U << 20, "changed");
  sink.keep((1U << 20) + 7, (1U << 20) - 7);
  const Digest digest = sink.finish(2U << 20, {2, 0});
  std::string expected = old.substr(0, 2U << 20);
  expected.replace(1U << 20, 7, "changed");
  EXPECT_EQ(content("new"), expected);
  EXPECT_EQ(digest, digest_of(expected));
  EXPECT_EQ(content("old"), old) << "a stored file is never modified";
}

TEST_F(Sink, WhatIsAllKeptIsNotWritten) {
  std::string old(3U << 20, 'o');
  old.replace(5, 3, "xyz");
  {
    FileSink sink(create("old"), Fd(), "old");
    sink.data(0, old);
    static_cast<void>(sink.finish(old.size(), {1, 0}));
  }
  auto predecessor = [&] { return Fd(::open((scratch.path() + "/old").c_str(), O_RDONLY)); };
  FileSink sink(create("same"), predecessor(), "same");
  EXPECT_FALSE(sink.kept_all());
  sink.keep(0, 1U << 20);
  sink.keep(1U << 20, 2U << 20);
  EXPECT_TRUE(sink.kept_all());
  EXPECT_EQ(sink.discard(old.size()), digest_of(old));
  EXPECT_EQ(content("same"), "");

  // With a hole in it, and when it is wanted after all.
  FileSink wanted(create("wanted"), predecessor(), "wanted");
  wanted.keep(0, 10);
  wanted.keep(1U << 20, 1U << 20);
  EXPECT_TRUE(wanted.kept_all());
  std::string expected = old.substr(0, 10) + std::string((1U << 20) - 10, '\0') + old.substr(1U << 20, 1U << 20);
  EXPECT_EQ(wanted.finish(expected.size(), {1, 0}), digest_of(expected));
  EXPECT_EQ(content("wanted"), expected);
}

TEST_F(Sink, ManySmallPiecesAreKeptInBoundedMemory) {
  const std::string old(100'000, 'o');
  {
    FileSink sink(create("old"), Fd(), "old");
    sink.data(0, old);
    static_cast<void>(sink.finish(old.size(), {1, 0}));
  }
  FileSink sink(create("new"), Fd(::open((scratch.path() + "/old").c_str(), O_RDONLY)), "new");
  std::string expected(old.size(), '\0');
  for (std::size_t at = 0; at < old.size(); at += 2) {
    sink.keep(at, 1);
    expected[at] = 'o';
  }
  EXPECT_FALSE(sink.kept_all()) << "above the bound it is written";
  EXPECT_EQ(sink.finish(old.size(), {1, 0}), digest_of(expected));
  EXPECT_EQ(content("new"), expected);
}

TEST_F(Sink, APredecessorThatIsTooShortIsSaid) {
  { FileSink(create("old"), Fd(), "old").data(0, "short"); }
  FileSink sink(create("new"), Fd(::open((scratch.path() + "/old").c_str(), O_RDONLY)), "new");
  EXPECT_THROW(sink.keep(0, 100), PredecessorDamaged);
}

TEST_F(Sink, ARestartLeavesNothingOfBefore) {
  FileSink sink(create("f"), Fd(), "f");
  sink.data(0, std::string(100'000, 'x'));
  sink.restart();
  sink.data(0, "y");
  EXPECT_EQ(sink.finish(1, {}), digest_of("y"));
  EXPECT_EQ(content("f"), "y");
}

TEST_F(Sink, OffsetsNeverGoBack) {
  FileSink sink(create("f"), Fd(), "f");
  sink.data(10, "x");
  EXPECT_THROW(sink.data(10, "y"), Error);
  EXPECT_THROW(sink.keep(11, 1), Error) << "nothing was offered";
}

}  // namespace
}  // namespace syncropy

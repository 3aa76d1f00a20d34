#include "server/progress.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

TEST(Progress, FiguresReadAsPeopleWriteThem) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1'000), "1,000");
  EXPECT_EQ(format_count(1'234'567), "1,234,567");
  EXPECT_EQ(format_bytes(0), "0 bytes");
  EXPECT_EQ(format_bytes(1'023), "1023 bytes");
  EXPECT_EQ(format_bytes(1'536), "1.5 KiB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "16.0 EiB");
}

TEST(Progress, OnlyWhereFiguresMoveTheirRestIsNoProgress) {
  for (const char* stage : {"waiting for the client's lock", "recovering", "connecting", "running the pre-command", "publishing", "recording",
                            "expiring", "emptying the trash"})
    EXPECT_TRUE(ends_by_itself(stage)) << stage;
  for (const char* stage : {"waiting", "listing", "receiving", "done"}) EXPECT_FALSE(ends_by_itself(stage)) << stage;
}

TEST(Progress, TheLineSaysWhoAndHowFar) {
  Progress progress("web1");
  progress.stage = "receiving";
  progress.listed = 2'000;
  progress.settled = 1'000;
  progress.received_files = 3;
  progress.received_bytes = 2'048;
  EXPECT_EQ(describe(progress), "web1: receiving, 1,000 of 2,000 listed entries in place, 3 new files, 2.0 KiB");
}

}  // namespace
}  // namespace syncropy

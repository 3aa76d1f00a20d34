#include "server/progress.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

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

#include "agent/activity.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

TEST(Activity, TheLineSaysWhoAndHowMuch) {
  ActivityFigures figures{"backup1", "connected"};
  EXPECT_EQ(describe(figures), "backup1: connected");
  figures = {"backup1", "reading", 120'000, 3'120, 3 << 20, 1 << 10};
  EXPECT_EQ(describe(figures), "backup1: reading, 120,000 entries listed, 3,120 files, 3.0 MiB, 1.0 KiB/s");
}

TEST(Activity, RateIsOverTheTimeBetweenTwoLooks) {
  Rate rate;
  const std::chrono::steady_clock::time_point start{std::chrono::hours(1)};
  EXPECT_EQ(rate.look(1'000, start), 0U) << "nothing to compare with";
  EXPECT_EQ(rate.look(5'000, start + std::chrono::seconds(2)), 2'000U);
  EXPECT_EQ(rate.look(5'000, start + std::chrono::seconds(2)), 0U);
}

}  // namespace
}  // namespace syncropy

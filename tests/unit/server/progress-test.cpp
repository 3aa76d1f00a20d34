#include "server/progress.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

using namespace std::chrono_literals;

TEST(Progress, OnlyWhereFiguresMoveTheirRestIsNoProgress) {
  for (const char* stage : {"waiting for another run", "recovering", "connecting", "running the pre-command", "publishing", "recording",
                            "expiring", "emptying the trash"})
    EXPECT_TRUE(ends_by_itself(stage)) << stage;
  for (const char* stage : {"waiting", "listing", "receiving", "done"}) EXPECT_FALSE(ends_by_itself(stage)) << stage;
}

void set(Progress& progress, const char* stage, std::uint64_t settled, std::uint64_t listed) {
  progress.stage = stage;
  progress.settled = settled;
  progress.listed = listed;
}

TEST(Progress, TheLineSaysWhoAndHowFar) {
  Progress progress("web1");
  progress.stage = "connecting";
  EXPECT_EQ(describe(progress, 0), "web1: connecting");
  set(progress, "receiving", 1'000, 2'000);
  progress.received_files = 3;
  progress.received_bytes = 2'048;
  EXPECT_EQ(describe(progress, 1'536), "web1: receiving, 50 %, 3 files, 2.0 KiB, 1.5 KiB/s, 1,000 of 2,000 entries");
  progress.problems = 2;
  set(progress, "publishing", 2'000, 2'000);
  EXPECT_EQ(describe(progress, 0), "web1: publishing, 99 %, 3 files, 2.0 KiB, 2,000 of 2,000 entries, 2 unreadable");
}

TEST(Progress, WhileListingThePercentageIsOfTheDatasetBefore) {
  Progress progress("web1");
  set(progress, "listing", 500, 600);
  EXPECT_EQ(describe(progress, 0), "web1: listing, 0 files, 0 bytes, 0 bytes/s, 500 of 600 entries so far");  // nobody knows of how many
  progress.expected = 5'000;
  EXPECT_EQ(describe(progress, 0), "web1: listing, 10 %, 0 files, 0 bytes, 0 bytes/s, 500 of 600 entries so far");
  set(progress, "listing", 5'500, 6'000);
  EXPECT_EQ(describe(progress, 0), "web1: listing, 91 %, 0 files, 0 bytes, 0 bytes/s, 5,500 of 6,000 entries so far");
}

TEST(Progress, SeveralClientsAreOneLine) {
  std::deque<Progress> clients;
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g"}) clients.emplace_back(name);
  const std::vector<Speed> speeds(clients.size());
  EXPECT_EQ(describe(clients, speeds), "");
  clients[0].stage = "done";
  clients[1].stage = "connecting";
  EXPECT_EQ(describe(clients, speeds), "1 of 7 clients done; b: connecting");
  for (std::size_t i = 2; i < clients.size(); ++i) clients[i].stage = "recording";
  EXPECT_EQ(describe(clients, speeds), "1 of 7 clients done; b: connecting; c: recording; d: recording; e: recording; 2 more at work");
  for (Progress& client : clients) client.stage = "done";
  EXPECT_EQ(describe(clients, speeds), "");
}

TEST(Progress, ASpeedIsThatOfTheLastSeconds) {
  Speed speed;
  const Speed::Clock::time_point start{};
  EXPECT_EQ(speed.a_second(), 0U);
  speed.note(start, 0);
  EXPECT_EQ(speed.a_second(), 0U);
  for (int i = 1; i <= 40; ++i) speed.note(start + i * 250ms, i <= 20 ? 0 : static_cast<std::uint64_t>(i - 20) * 1'000);
  EXPECT_EQ(speed.a_second(), 4'000U);
  speed.note(start + 11s, 0);  // it starts over
  EXPECT_EQ(speed.a_second(), 0U);
}

}  // namespace
}  // namespace syncropy

#include "server/status.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "repository/manifest-store.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

constexpr std::int64_t hour = 3'600, day = 86'400;

class StatusTest : public testing::Test {
 protected:
  StatusTest() {
    Repository::create(path());
    settings_.repository = path();
    settings_.clients.resize(1);
    settings_.clients[0].name = "web1";
  }
  std::string path() const { return scratch_.path() + "/backups"; }
  void publish(Tier tier, std::int64_t finished, Completeness completeness = Completeness::complete) {
    const ClientStore store = Repository::open(path(), true).client("web1");
    const ClientStore::Datasets before = store.datasets();
    DatasetInfo info;
    info.client = "web1";
    info.tier = tier;
    info.sequence = store.next_sequence(before);
    info.name = store.free_name(tier, finished, info.sequence);
    info.started.seconds = info.finished.seconds = finished;
    info.completeness = completeness;
    info.entries = 1;
    info.problems = completeness == Completeness::partial ? 3 : 0;
    Staging staging = store.begin(info.name);
    ManifestWriter writer(staging.manifest.duplicate(), nullptr, Fd(), nullptr);
    writer.add(folder_entry(""));
    writer.finish(info);
    store.publish(std::move(staging), tier);
  }
  void note(const RunNotes& notes) { Repository::open(path(), true).client("web1").set_notes(notes); }
  std::vector<std::string> attention(std::int64_t now, std::time_t own = 0) {
    const ConfigurationStatus status = status_of(settings_, own, now);
    std::vector<std::string> all = status.attention;
    for (const std::string& line : status.clients.at(0).attention) all.push_back(line);
    return all;
  }

  Scratch scratch_;
  ServerSettings settings_;
  const std::int64_t now_ = 1'800'000'000;
};

using Lines = std::vector<std::string>;

TEST_F(StatusTest, AClientThatWasNeverBackedUp) { EXPECT_EQ(attention(now_), Lines{"it was never backed up"}); }

TEST_F(StatusTest, TheShortestTierInUseSaysHowOldTheNewestMayBe) {
  publish(Tier::hour, now_ - 5 * hour);
  EXPECT_EQ(attention(now_), Lines{}) << "one dataset is no habit";
  publish(Tier::hour, now_ - 4 * hour);
  EXPECT_EQ(attention(now_), Lines{"no backup for 4 h"});
  publish(Tier::day, now_ - 2 * hour);
  EXPECT_EQ(attention(now_), Lines{}) << "a backup is a backup, of whichever tier";
  const ConfigurationStatus status = status_of(settings_, 0, now_);
  EXPECT_EQ(status.clients[0].newest[0]->sequence, 2U);
  EXPECT_EQ(status.clients[0].newest[1]->sequence, 3U);
  EXPECT_FALSE(status.clients[0].newest[2]);
}

TEST_F(StatusTest, DaysAreOverdueLater) {
  publish(Tier::day, now_ - 4 * day);
  publish(Tier::day, now_ - 2 * day);
  EXPECT_EQ(attention(now_), Lines{});
  EXPECT_EQ(attention(now_ + day), Lines{"no backup for 3 d"});
}

TEST_F(StatusTest, WhatIsPartialIsToBeLookedAt) {
  publish(Tier::hour, now_, Completeness::partial);
  EXPECT_EQ(attention(now_), Lines{"its newest dataset is partial: 3 files could not be read"});
}

TEST_F(StatusTest, ALastRunThatFailed) {
  publish(Tier::hour, now_);
  RunNotes notes;
  notes.ended = now_;
  notes.last_status = 69;
  notes.failure = RunNotes::Failure{now_, Tier::day, 69, "nobody answers"};
  note(notes);
  ASSERT_EQ(attention(now_).size(), 1U);
  EXPECT_EQ(attention(now_)[0], "the last run (day, " + format_time(now_) + ") ended with status 69: nobody answers");
  notes.last_status = 3;
  note(notes);
  EXPECT_EQ(attention(now_), Lines{}) << "one that is over is remembered, and that is all";
  EXPECT_EQ(status_of(settings_, 0, now_).clients[0].notes.failure->why, "nobody answers");
}

TEST_F(StatusTest, CertificatesOfBothSides) {
  publish(Tier::hour, now_);
  RunNotes notes;
  notes.connected = now_;
  notes.certificate_expires = now_ + 30 * day;
  note(notes);
  EXPECT_EQ(attention(now_, now_ + 30 * day), Lines{});
  const Lines soon = attention(now_ + 1, now_ + 30 * day);
  ASSERT_EQ(soon.size(), 2U);
  EXPECT_NE(soon[0].find("this server's certificate expires on"), std::string::npos);
  EXPECT_NE(soon[1].find("in 29 d"), std::string::npos);
  EXPECT_NE(attention(now_ + 31 * day, now_ + 100 * day).at(0).find("its certificate expired on"), std::string::npos);
  settings_.clients[0].ssl = false;
  EXPECT_EQ(attention(now_ + 1), Lines{});
}

TEST_F(StatusTest, NotesComeBackAsTheyWent) {
  publish(Tier::hour, now_);
  RunNotes notes{now_, now_ + 1, now_ + 2, 77, RunNotes::Failure{now_ + 3, Tier::month, 77, "a b: c " + std::string(5'000, 'x')}};
  note(notes);
  const RunNotes same = Repository::open(path(), false).client("web1").notes();
  EXPECT_EQ(same.connected, notes.connected);
  EXPECT_EQ(same.certificate_expires, notes.certificate_expires);
  EXPECT_EQ(same.ended, notes.ended);
  EXPECT_EQ(same.last_status, 77);
  ASSERT_TRUE(same.failure);
  EXPECT_EQ(same.failure->time, now_ + 3);
  EXPECT_EQ(same.failure->tier, Tier::month);
  EXPECT_EQ(same.failure->why, notes.failure->why.substr(0, 1'000));
}

TEST(Age, IsForPeople) {
  EXPECT_EQ(format_age(-5), "0 s");
  EXPECT_EQ(format_age(119), "119 s");
  EXPECT_EQ(format_age(120), "2 min");
  EXPECT_EQ(format_age(7'199), "119 min");
  EXPECT_EQ(format_age(2 * hour), "2 h");
  EXPECT_EQ(format_age(47 * hour), "47 h");
  EXPECT_EQ(format_age(50 * day), "50 d");
}

}  // namespace
}  // namespace syncropy

#include "server/verify.hpp"

#include <gtest/gtest.h>

#include "server/verify-findings.hpp"

namespace syncropy {
namespace {

// As many samples of a size as make up a whole look at each path; and at none twice, but for what the last one has left over.
TEST(VerifySlice, SamplesInARowCoverTheCircle) {
  for (const double percent : {0.01, 1.0, 3.0, 5.0, 7.5, 25.0, 33.3, 50.0, 99.9}) {
    std::vector<VerifySlice> slices;
    std::uint64_t from = 12'345'678'901'234'567U;
    for (double covered = 0; covered < 100 - 1e-9; covered += percent) {
      slices.push_back(VerifySlice::of(from, percent));
      from += slices.back().width;
    }
    const unsigned paths = percent < 1 ? 200 : 2'000;
    std::uint64_t hits = 0;
    for (unsigned i = 0; i < paths; ++i) {
      unsigned times = 0;
      for (const VerifySlice& slice : slices) times += slice.has("some/folder/" + std::to_string(i)) ? 1 : 0;
      EXPECT_GE(times, 1U) << percent << " " << i;
      EXPECT_LE(times, 2U) << percent << " " << i;
      hits += times;
    }
    const double expected = paths * static_cast<double>(slices.size()) * percent / 100;
    EXPECT_NEAR(static_cast<double>(hits), expected, 0.1 * expected) << percent;
  }
}

TEST(VerifySlice, EverythingIsInTheWhole) {
  for (const VerifySlice& slice : {VerifySlice::of(77, std::nullopt), VerifySlice::of(77, 100.0)}) {
    EXPECT_EQ(slice.width, 0U);
    for (const char* path : {"", "a", "a/b"}) EXPECT_TRUE(slice.has(path));
  }
}

class Findings : public testing::Test {
 protected:
  VerifyProgress progress;
  std::vector<std::string> told;
  VerifyFindings findings{progress, [this](const std::string& dataset, const DamagedPath& found) { told.push_back(dataset + " " + found.path); }};
};

TEST_F(Findings, OneOfSeveralDatasetsIsToldOnce) {
  std::deque<VerifyDataset> datasets(2);
  datasets[0].name = "hour/1";
  datasets[1].name = "hour/2";
  const StoredKey stored{5, digest_of("x")};
  for (VerifyDataset& dataset : datasets) findings.add(dataset, "a", {DamageKind::content, 0}, stored);
  findings.add(datasets[1], "a", {DamageKind::time, 0});
  EXPECT_EQ(told, (std::vector<std::string>{"hour/1 a", "hour/2 a"}));
  ASSERT_EQ(findings.found().size(), 2U);
  EXPECT_EQ(findings.found().at({"a", DamageKind::content, 5}).datasets.size(), 2U);
  EXPECT_EQ(progress.damaged, 2U);
}

TEST_F(Findings, WhatDoesNotFitIsCountedAndItsDatasetsAreKnown) {
  std::deque<VerifyDataset> datasets(2);
  for (std::size_t i = 0; i < limits::verify_findings; ++i) findings.add(datasets[0], std::to_string(i), {DamageKind::missing, 0});
  EXPECT_TRUE(findings.crowded().empty());
  findings.add(datasets[1], "more", {DamageKind::missing, 0});
  EXPECT_EQ(findings.crowded(), (std::set<const VerifyDataset*>{&datasets[1]}));
  EXPECT_EQ(findings.found().size(), limits::verify_findings);
}

TEST_F(Findings, AnInodeIsClaimedOnceAndThenKnown) {
  const StoredKey one{5, digest_of("x")}, same_inode{5, digest_of("y")};
  StoredState state;
  EXPECT_EQ(findings.claim(one, state), VerifyFindings::Claim::yours);
  EXPECT_EQ(findings.claim(one, state), VerifyFindings::Claim::elsewhere);
  findings.settle(one, {DamageKind::content, 0});
  EXPECT_EQ(findings.claim(one, state), VerifyFindings::Claim::known);
  EXPECT_EQ(state.damage, DamageKind::content);
  EXPECT_EQ(findings.claim(same_inode, state), VerifyFindings::Claim::yours) << "another digest is another question";
}

TEST_F(Findings, WhatIsRememberedIsRecalled) {
  const StoredKey one{5, digest_of("x")}, other{6, digest_of("x")};
  StoredState state;
  EXPECT_FALSE(findings.recall(one, state));
  findings.remember(one, {DamageKind::content, 0});
  EXPECT_TRUE(findings.recall(one, state));
  EXPECT_EQ(state.damage, DamageKind::content);
  EXPECT_FALSE(findings.recall(other, state));
  EXPECT_EQ(findings.claim(other, state), VerifyFindings::Claim::yours);
  EXPECT_FALSE(findings.recall(other, state)) << "it is being read";
}

TEST_F(Findings, NamesOfOneInodeThatAreStoredApart) {
  std::deque<VerifyDataset> datasets(2);
  datasets[0].info.sequence = 1;
  datasets[1].info.sequence = 2;
  Stat stat;
  stat.inode = 7;
  EXPECT_FALSE(findings.splits(datasets[0], stat, 100));
  EXPECT_FALSE(findings.splits(datasets[0], stat, 100));
  EXPECT_TRUE(findings.splits(datasets[0], stat, 101));
  EXPECT_FALSE(findings.splits(datasets[1], stat, 101)) << "each dataset by itself";
  stat.filesystem = 1;
  EXPECT_FALSE(findings.splits(datasets[0], stat, 102)) << "inodes are those of one filesystem";
}

TEST_F(Findings, NamesAreCountedByFolderAndDataset) {
  findings.count_names("a", 1, 3, 5);
  findings.count_names("a", 1, 3, 2);
  findings.count_names("a", 2, 3, 0);
  EXPECT_EQ(findings.counted().at("a"), (std::vector<std::uint64_t>{VerifyFindings::not_looked_at, 7, 0}));
}

}  // namespace
}  // namespace syncropy

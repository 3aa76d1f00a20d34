#include "server/retention.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

// 'c' complete, 'p' partial, '.' of another tier; sequences count from 1. Returns the sequences that go.
std::vector<std::uint64_t> gone(const std::string& datasets, unsigned keep) {
  std::vector<StoredDataset> stored;
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    StoredDataset dataset;
    dataset.info.sequence = i + 1;
    dataset.info.tier = datasets[i] == '.' ? Tier::day : Tier::hour;
    dataset.info.completeness = datasets[i] == 'p' ? Completeness::partial : Completeness::complete;
    stored.push_back(dataset);
  }
  std::vector<std::uint64_t> sequences;
  for (const StoredDataset& dataset : expired(stored, Tier::hour, keep)) sequences.push_back(dataset.info.sequence);
  return sequences;
}

using Sequences = std::vector<std::uint64_t>;

TEST(Retention, TheOldestBeyondTheCountGo) {
  EXPECT_EQ(gone("ccc", 3), Sequences{});
  EXPECT_EQ(gone("ccccc", 3), (Sequences{1, 2}));
  EXPECT_EQ(gone("c.c.c.c", 2), (Sequences{1, 3}));
  EXPECT_EQ(gone("", 1), Sequences{});
}

TEST(Retention, APartialOneNeverPushesOutACompleteOne) {
  EXPECT_EQ(gone("cccp", 3), Sequences{});
  EXPECT_EQ(gone("cccpppp", 3), (Sequences{4}));
  EXPECT_EQ(gone("cppppppppp", 1), (Sequences{2, 3, 4, 5, 6, 7, 8, 9})) << "the last good one stays";
  EXPECT_EQ(gone("cppc", 1), (Sequences{1, 2, 3})) << "partial ones go with the complete ones of their age";
}

}  // namespace
}  // namespace syncropy

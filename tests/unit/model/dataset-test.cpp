#include "model/dataset.hpp"

#include <gtest/gtest.h>

#include "util/error.hpp"

namespace syncropy {
namespace {

TEST(Dataset, NamesAreBuiltAndParsedInOneSpelling) {
  EXPECT_EQ(dataset_name(1'795'374'300), "2026-11-22T190500Z");
  EXPECT_EQ(dataset_name(1'795'374'300, 2), "2026-11-22T190500Z.2");
  EXPECT_EQ(dataset_time("2026-11-22T190500Z"), 1'795'374'300);
  EXPECT_EQ(dataset_time("2026-11-22T190500Z.9999"), 1'795'374'300);
  EXPECT_EQ(dataset_suffix("2026-11-22T190500Z"), 1U);
  EXPECT_EQ(dataset_suffix("2026-11-22T190500Z.9999"), 9'999U);
  const std::string longest = dataset_name(1'795'374'300, INT64_MAX - 1);
  EXPECT_EQ(longest, "2026-11-22T190500Z.9223372036854775806");
  EXPECT_EQ(longest.size(), limits::dataset_name_bytes);
  EXPECT_EQ(dataset_time(longest), 1'795'374'300);
  EXPECT_THROW(static_cast<void>(dataset_name(1'795'374'300, INT64_MAX)), Error);
  for (const char* name : {"", "2026-11-22T190500", "2026-11-22T190500Z.", "2026-11-22T190500Z.1", "2026-11-22T190500Z.02", "2026-11-22T190500Z.9223372036854775807", "2026-11-22T190500Z.18446744073709551618", "2026-11-22T190500Z.0", "2026-11-22T190500Z.2x", "2026-02-30T000000Z",
                           "2026-11-22T246100Z", "2026-11-22t190500Z", "+026-11-22T190500Z", "2026-11-22T190500Z/..", "latest", ".staging", "0000-01-01T000000Z"})
    EXPECT_FALSE(is_dataset_name(name)) << name;
}

TEST(Dataset, AClientsNameIsAFolderAndNothingElse) {
  for (const char* name : {"web1", "a", "A.b_c-d", "0"}) EXPECT_TRUE(is_client_name(name)) << name;
  for (const char* name : {"", ".", "..", ".syncropy", "-x", "a/b", "a b", "ä", "a\n"}) EXPECT_FALSE(is_client_name(name)) << name;
  EXPECT_FALSE(is_client_name(std::string(65, 'a')));
}

TEST(Dataset, TiersHaveNames) {
  for (Tier tier : all_tiers) EXPECT_EQ(tier_from_name(name_of(tier)), tier);
  EXPECT_FALSE(tier_from_name("year"));
}

}  // namespace
}  // namespace syncropy

#include "restore/accounts.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

TEST(AccountsTest, NameOfThisMachineBeforeNumber) {
  const RestoreRules rules;
  Accounts accounts(rules);
  EXPECT_EQ(accounts.user("root", 1'234), 0U);
  EXPECT_EQ(accounts.group("root", 1'234), 0U);
  EXPECT_EQ(accounts.user("no-such-account", 1'234), 1'234U);
  EXPECT_EQ(accounts.group("no-such-account", 1'234), 1'234U);
  EXPECT_EQ(accounts.user("", UINT32_MAX), UINT32_MAX);
  EXPECT_EQ(accounts.user("", 0), 0U);
}

TEST(AccountsTest, NumericAsksForNoName) {
  RestoreRules rules;
  rules.numeric = true;
  rules.users = {{"anna", "77"}};
  Accounts accounts(rules);
  EXPECT_EQ(accounts.user("root", 1'234), 1'234U);
  EXPECT_EQ(accounts.group("root", 1'234), 1'234U);
  EXPECT_EQ(accounts.user("anna", 5), 77U) << "a mapping is first";
}

TEST(AccountsTest, MappingsByNameAndByNumber) {
  RestoreRules rules;
  rules.users = {{"anna", "root"}, {"1000", "2000"}, {"root", "4000000000"}, {"ben", "no-such-account"}, {"ben", "7"}};
  rules.groups = {{"staff-there", "root"}, {"", "1"}};
  Accounts accounts(rules);
  EXPECT_EQ(accounts.user("anna", 5), 0U);
  EXPECT_EQ(accounts.user("carl", 1'000), 2'000U);
  EXPECT_EQ(accounts.user("", 1'000), 2'000U);
  EXPECT_EQ(accounts.user("carl", 1'001), 1'001U);
  EXPECT_EQ(accounts.user("root", 0), 4'000'000'000U);
  EXPECT_EQ(accounts.user("ben", 5), 7U) << "a mapping to nobody fits nobody";
  EXPECT_EQ(accounts.group("staff-there", 50), 0U);
  EXPECT_EQ(accounts.group("anna", 5), 5U) << "users are not groups";
  EXPECT_EQ(accounts.group("", 50), 50U) << "an empty name is no name";
}

TEST(AccountsTest, SameNameWithAnotherNumberIsAnotherQuestion) {
  RestoreRules rules;
  rules.users = {{"1000", "1"}};
  Accounts accounts(rules);
  EXPECT_EQ(accounts.user("no-such-account", 1'000), 1U);
  EXPECT_EQ(accounts.user("no-such-account", 1'001), 1'001U);
  EXPECT_EQ(accounts.user("no-such-account", 1'000), 1U);
}

}  // namespace
}  // namespace syncropy

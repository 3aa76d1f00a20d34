#include "agent/access.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

ReadAccess access(std::vector<std::string> read, std::vector<std::string> deny = {}) {
  AgentPolicy policy;
  policy.read = std::move(read);
  policy.deny = std::move(deny);
  return ReadAccess(policy);
}

TEST(Access, OnlyWhatThePolicyNames) {
  const ReadAccess some = access({"/etc", "/home/anna/"}, {"/etc/shadow", "/etc/ssl/private"});
  EXPECT_TRUE(some.allows("etc"));
  EXPECT_TRUE(some.allows("etc/passwd"));
  EXPECT_TRUE(some.allows("home/anna"));
  for (const char* path : {"", "etcetera", "home", "home/annabel", "etc/shadow", "etc/ssl/private/key", "root"}) EXPECT_FALSE(some.allows(path)) << path;
  EXPECT_TRUE(some.allows("etc/shadow-"));
  for (const char* path : {"", "home", "etc"}) EXPECT_TRUE(some.allows_as_ancestor(path)) << path;
  EXPECT_FALSE(some.allows_as_ancestor("root"));
}

TEST(Access, TheRootIsEverything) {
  EXPECT_TRUE(access({"/"}).allows("any/thing"));
  EXPECT_TRUE(access({"/"}).allows(""));
  EXPECT_FALSE(access({}).allows("any"));
}

}  // namespace
}  // namespace syncropy

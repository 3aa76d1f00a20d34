#include "model/entry.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/limits.hpp"

namespace syncropy {
namespace {

TEST(Entry, PathsSortAsAWalkMeetsThem) {
  const std::vector<std::string> walk{"", "a", "a/b", "a/b/c", "a/b\x01", "a\x01", "a b", "a.b", "ab", "a\xff", "b"};
  for (std::size_t i = 0; i < walk.size(); ++i)
    for (std::size_t j = 0; j < walk.size(); ++j) EXPECT_EQ(compare_paths(walk[i], walk[j]), i <=> j) << walk[i] << " and " << walk[j];
}

TEST(Entry, PathsThatCannotBeAreNamed) {
  for (const char* path : {"/a", "a/", "a//b", ".", "..", "a/..", "a/./b", "/"}) EXPECT_NE(why_not_a_path(path), nullptr) << path;
  EXPECT_NE(why_not_a_path(std::string_view("a\0b", 3)), nullptr);
  EXPECT_NE(why_not_a_path(std::string(256, 'x')), nullptr);
  EXPECT_EQ(why_not_a_path(std::string(255, 'x')), nullptr);
  for (const char* path : {"", "a", "...", "..a/b", "\xff\n\x1b"}) EXPECT_EQ(why_not_a_path(path), nullptr) << path;
  std::string deep = "d";
  for (std::size_t i = 1; i < limits::path_depth; ++i) deep += "/d";
  EXPECT_EQ(why_not_a_path(deep), nullptr);
  EXPECT_NE(why_not_a_path(deep + "/d"), nullptr);
  std::string longest = std::string(255, 'x');
  while (longest.size() + 256 <= limits::path_bytes) longest += "/" + std::string(255, 'x');
  EXPECT_EQ(why_not_a_path(longest), nullptr);
  EXPECT_NE(why_not_a_path(longest + "/" + std::string(255, 'x')), nullptr);
}

TEST(Entry, NameAndParent) {
  EXPECT_EQ(parent_of("a/b/c"), "a/b");
  EXPECT_EQ(name_of("a/b/c"), "c");
  EXPECT_EQ(parent_of("a"), "");
  EXPECT_EQ(name_of("a"), "a");
}

}  // namespace
}  // namespace syncropy

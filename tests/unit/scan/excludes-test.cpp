#include "scan/excludes.hpp"

#include <gtest/gtest.h>

#include "util/error.hpp"

namespace syncropy {
namespace {

// Whether `path` or a folder above it is left out, as a walk from the root would find.
bool left_out(const std::vector<std::string>& patterns, std::string_view path, bool folder = false) {
  const Excludes excludes(patterns, {});
  Excludes::Position position = excludes.at_root();
  for (std::size_t at = 0;;) {
    const std::size_t slash = path.find('/', at);
    const std::string name(path.substr(at, slash - at));
    const bool last = slash == std::string_view::npos;
    if (excludes.match(position, name.c_str(), !last || folder)) return true;
    if (last) return false;
    position = excludes.below(position, name.c_str());
    at = slash + 1;
  }
}

TEST(Excludes, PatternWithoutSlashIsANameAnywhere) {
  EXPECT_TRUE(left_out({"cache"}, "cache"));
  EXPECT_TRUE(left_out({"cache"}, "var/cache"));
  EXPECT_TRUE(left_out({"cache"}, "var/cache/apt/archives"));
  EXPECT_FALSE(left_out({"cache"}, "var/cache2"));
  EXPECT_FALSE(left_out({"cache"}, "var/mycache"));
  EXPECT_TRUE(left_out({"*.o"}, "home/x/src/main.o"));
  EXPECT_FALSE(left_out({"*.o"}, "home/x/src/main.oo"));
  EXPECT_TRUE(left_out({"?[a-c]"}, "d/xb"));
  EXPECT_FALSE(left_out({"?[a-c]"}, "d/xd"));
}

TEST(Excludes, PatternWithLeadingSlashIsAWholePath) {
  EXPECT_TRUE(left_out({"/var/cache"}, "var/cache"));
  EXPECT_TRUE(left_out({"/var/cache"}, "var/cache/apt"));
  EXPECT_FALSE(left_out({"/var/cache"}, "srv/var/cache"));
  EXPECT_FALSE(left_out({"/var/cache"}, "var"));
  EXPECT_FALSE(left_out({"/cache"}, "var/cache"));
  EXPECT_TRUE(left_out({"/home/*/tmp"}, "home/anna/tmp/x"));
  EXPECT_FALSE(left_out({"/home/*/tmp"}, "home/anna/deeper/tmp"));
  EXPECT_FALSE(left_out({"/home/*"}, "home")) << "a star stands for a name, and '*' never for a slash";
  EXPECT_TRUE(left_out({"//var//cache"}, "var/cache"));
}

TEST(Excludes, PatternWithAnInnerSlashMatchesAtAnyDepth) {
  EXPECT_TRUE(left_out({"target/debug"}, "home/anna/project/target/debug/x"));
  EXPECT_TRUE(left_out({"target/debug"}, "target/debug"));
  EXPECT_FALSE(left_out({"target/debug"}, "target/x/debug"));
  EXPECT_FALSE(left_out({"target/debug"}, "debug"));
}

TEST(Excludes, TwoStarsStandForAnyNumberOfFolders) {
  EXPECT_TRUE(left_out({"/home/**/tmp"}, "home/tmp"));
  EXPECT_TRUE(left_out({"/home/**/tmp"}, "home/a/b/c/tmp"));
  EXPECT_FALSE(left_out({"/home/**/tmp"}, "srv/tmp"));
  EXPECT_TRUE(left_out({"/srv/**"}, "srv/x"));
  EXPECT_TRUE(left_out({"/srv/**"}, "srv/x/y"));
  EXPECT_FALSE(left_out({"/srv/**"}, "srv"));
  EXPECT_TRUE(left_out({"/a/**/b/**/c"}, "a/b/x/b/y/c"));
  EXPECT_FALSE(left_out({"/a/**/b/**/c"}, "a/x/y/c"));
  EXPECT_TRUE(left_out({"**/x"}, "x"));
  EXPECT_TRUE(left_out({"/**/**/x"}, "p/q/x"));
  EXPECT_TRUE(left_out({"**"}, "anything"));
}

TEST(Excludes, TrailingSlashMeansFoldersOnly) {
  EXPECT_TRUE(left_out({"cache/"}, "var/cache", true));
  EXPECT_FALSE(left_out({"cache/"}, "var/cache", false));
  EXPECT_TRUE(left_out({"/var/*/"}, "var/cache", true));
  EXPECT_FALSE(left_out({"/var/*/"}, "var/file", false));
}

TEST(Excludes, NamesAreBytes) {
  EXPECT_TRUE(left_out({"*.bak"}, "\xff\xfe.bak"));
  EXPECT_TRUE(left_out({"a\nb"}, "x/a\nb"));
  EXPECT_TRUE(left_out({"*"}, ".hidden"));
  EXPECT_TRUE(left_out({"\\*"}, "x/*"));
  EXPECT_FALSE(left_out({"\\*"}, "x/y"));
}

TEST(Excludes, ManyStarsEndInTime) {
  const std::string name(255, 'a');
  EXPECT_FALSE(left_out({"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"}, name));
}

TEST(Excludes, DeniedPathsAreNoPatterns) {
  const Excludes excludes({}, {"root/.ssh", "srv/*"});
  EXPECT_FALSE(excludes.match(excludes.at_root(), "root", true));
  EXPECT_TRUE(excludes.match(excludes.below(excludes.at_root(), "root"), ".ssh", true));
  EXPECT_FALSE(excludes.match(excludes.below(excludes.at_root(), "srv"), "x", true));
  EXPECT_TRUE(excludes.match(excludes.below(excludes.at_root(), "srv"), "*", true));
  EXPECT_EQ(excludes.denying("root/.ssh/id"), "root/.ssh");
  EXPECT_EQ(excludes.denying("root/.ssh"), "root/.ssh");
  EXPECT_EQ(excludes.denying("root/.ssh2"), "");
  EXPECT_EQ(excludes.denying("root"), "");
  EXPECT_EQ(Excludes({}, {""}).denying("etc"), "/");
}

TEST(Excludes, WhatEachFolderCostsHasABound) {
  EXPECT_NO_THROW(Excludes({"/**/a/**/b/**/c/**/d"}, {}));
  EXPECT_THROW(Excludes({"/**/a/**/b/**/c/**/d/**/e"}, {}), Error);
  EXPECT_NO_THROW(Excludes(std::vector<std::string>(1'024, "a/b/c/d"), {}));
  EXPECT_THROW(Excludes(std::vector<std::string>(1'025, "a/b/c/d"), {}), Error);
}

TEST(Excludes, PatternsThatCanMatchNothingAreErrors) {
  for (const char* pattern : {"", "/", "//"}) {
    EXPECT_THROW(Excludes({pattern}, {}), Error) << pattern;
  }
  EXPECT_THROW(Excludes(std::vector<std::string>(10'001, "x"), {}), Error);
}

}  // namespace
}  // namespace syncropy

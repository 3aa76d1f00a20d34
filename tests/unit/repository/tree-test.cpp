#include "repository/tree.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

namespace fs = std::filesystem;

class Tree : public testing::Test {
 protected:
  Tree() {
    fs::create_directories(scratch.path() + "/old/d");
    fs::create_directories(scratch.path() + "/new/d");
  }
  Fd open(const std::string& name) { return Fd(::open((scratch.path() + "/" + name).c_str(), O_RDONLY | O_DIRECTORY)); }
  Entry store(const std::string& path, const std::string& content) {
    const Entry entry = file_entry(path, content);
    TreeBuilder old(open("old"), Fd());
    FileSink sink = old.create_file(path, {});
    if (!content.empty()) sink.data(0, content);
    static_cast<void>(sink.finish(content.size(), entry.stat.mtime));
    return entry;
  }
  ino_t inode(const std::string& path) {
    struct stat st{};
    return ::lstat((scratch.path() + "/" + path).c_str(), &st) == 0 ? st.st_ino : 0;
  }
  Scratch scratch;
};

TEST_F(Tree, AnUnchangedFileIsTheSameInode) {
  const Entry entry = store("d/f", "content");
  TreeBuilder builder(open("new"), open("old"));
  EXPECT_EQ(builder.link_previous(entry), LinkResult::linked);
  EXPECT_EQ(inode("new/d/f"), inode("old/d/f"));
}

// What is linked is checked first: a tree that somebody meddled with must not spread.
TEST_F(Tree, WhatIsStoredOtherwiseThanItsManifestSaysIsNotLinked) {
  Entry entry = store("d/f", "content");
  TreeBuilder builder(open("new"), open("old"));
  Entry other = entry;
  other.stat.size += 1;
  EXPECT_EQ(builder.link_previous(other), LinkResult::missing);
  other = entry;
  other.stat.mtime.nanoseconds += 1;
  EXPECT_EQ(builder.link_previous(other), LinkResult::missing);
  fs::remove(scratch.path() + "/old/d/f");
  EXPECT_EQ(builder.link_previous(entry), LinkResult::missing);
  fs::create_symlink("/etc/passwd", scratch.path() + "/old/d/f");
  EXPECT_EQ(builder.link_previous(entry), LinkResult::missing);
}

TEST_F(Tree, ACopyIsCheckedAgainstItsDigest) {
  const Entry entry = store("d/f", "content");
  Entry touched = entry;
  touched.stat.mtime = {5, 0};
  TreeBuilder builder(open("new"), open("old"));
  EXPECT_EQ(builder.copy_previous(touched), LinkResult::linked);
  EXPECT_NE(inode("new/d/f"), inode("old/d/f"));
  fs::remove(scratch.path() + "/new/d/f");
  fs::permissions(scratch.path() + "/old/d/f", fs::perms::owner_all);
  std::ofstream(scratch.path() + "/old/d/f") << "CONTENT";
  EXPECT_EQ(builder.copy_previous(touched), LinkResult::missing);
  EXPECT_FALSE(fs::exists(scratch.path() + "/new/d/f")) << "nothing half done is left";
}

TEST_F(Tree, AFileIsTakenOverUnderAnotherName) {
  Entry entry = store("d/f", "content");
  TreeBuilder builder(open("new"), open("old"));
  entry.path = "moved";
  EXPECT_EQ(builder.link_previous(entry, "d/f"), LinkResult::linked);
  EXPECT_EQ(inode("new/moved"), inode("old/d/f"));
  entry.path = "d/copied";
  entry.stat.mtime = {5, 0};
  EXPECT_EQ(builder.copy_previous(entry, "d/f"), LinkResult::linked);
  EXPECT_NE(inode("new/d/copied"), inode("old/d/f"));
  EXPECT_EQ(builder.copy_previous(entry, "d/nowhere"), LinkResult::missing);
}

TEST_F(Tree, WithAllLinksUsedUpACopyIsMade) {
  const Entry entry = store("d/f", "content");
  const std::string links = scratch.path() + "/links";
  fs::create_directory(links);
  int made = 0;
  while (made < 70'000 && ::link((scratch.path() + "/old/d/f").c_str(), (links + "/" + std::to_string(made)).c_str()) == 0) ++made;
  TreeBuilder builder(open("new"), open("old"));
  const LinkResult result = builder.link_previous(entry);
  // ext4 ends at 65,000; other filesystems may go on.
  EXPECT_EQ(result, made < 70'000 ? LinkResult::copy_needed : LinkResult::linked);
  if (result == LinkResult::copy_needed) {
    EXPECT_EQ(builder.copy_previous(entry), LinkResult::linked);
  }
  EXPECT_TRUE(fs::exists(scratch.path() + "/new/d/f"));
}

TEST_F(Tree, SymbolicLinksAreStoredAndNeverFollowed) {
  TreeBuilder builder(open("new"), Fd());
  builder.make_symlink("d/out", "/etc", {7, 8});
  EXPECT_EQ(fs::read_symlink(scratch.path() + "/new/d/out"), "/etc");
  EXPECT_THROW(static_cast<void>(builder.create_file("d/out/passwd", {})), Error);
  EXPECT_THROW(builder.make_folder("d/out/x"), Error);
}

TEST_F(Tree, NamesOfOneInodeStayTogether) {
  TreeBuilder builder(open("new"), Fd());
  FileSink sink = builder.create_file("d/a", {});
  sink.data(0, "x");
  static_cast<void>(sink.finish(1, {1, 2}));
  builder.link_within("d/a", file_entry("b", "x"));
  EXPECT_EQ(inode("new/b"), inode("new/d/a"));
}

}  // namespace
}  // namespace syncropy

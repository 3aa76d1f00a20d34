#include "restore/removal.hpp"

#include <sys/resource.h>

#include "tests/unit/scan/tree.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

class RemovalTest : public testing::Test {
 protected:
  [[nodiscard]] bool exists(std::string_view name) const {
    struct stat st;
    return ::fstatat(tree.root(), std::string(name).c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  }
  Tree tree;
};

TEST_F(RemovalTest, EveryTypeAndNothingElse) {
  tree.folder("gone");
  tree.folder("gone/below");
  tree.file("gone/below/file", "x");
  ASSERT_EQ(::mkfifoat(tree.root(), "gone/fifo", 0600), 0);
  tree.folder("stays");
  tree.file("stays/file", "x");
  tree.link("../stays", "gone/link");
  tree.link(tree.path("stays"), "gone/below/absolute");
  EXPECT_EQ(remove_within(tree.root(), "gone"), 0);
  EXPECT_FALSE(exists("gone"));
  EXPECT_TRUE(exists("stays/file")) << "a link was followed";
  tree.link("stays", "link");
  EXPECT_EQ(remove_within(tree.root(), "link"), 0);
  EXPECT_FALSE(exists("link"));
  EXPECT_TRUE(exists("stays/file"));
  EXPECT_EQ(remove_within(tree.root(), "never"), 0);
}

TEST_F(RemovalTest, DeepTreesNeedFewDescriptors) {
  tree.folder("deep");
  in_child([&] {
    Fd at(::openat(tree.root(), "deep", O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < 1'500; ++i) {
      ASSERT_EQ(::mkdirat(at.get(), "folder-with-a-name", 0700), 0);
      Fd file(::openat(at.get(), "zfile", O_WRONLY | O_CREAT, 0600));
      ASSERT_TRUE(file);
      at = Fd(::openat(at.get(), "folder-with-a-name", O_RDONLY | O_DIRECTORY));
      ASSERT_TRUE(at);
    }
    const rlimit limit{120, 120};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(remove_within(tree.root(), "deep"), 0);
  });
  EXPECT_FALSE(exists("deep"));
}

TEST_F(RemovalTest, MountsStayAndWhatLeadsToThem) {
  in_child([&] {
    if (!enter_mount_namespace()) return say_not_tested("mounts: this user may not");
    tree.reopen();
    tree.folder("a");
    tree.folder("a/b");
    tree.folder("a/b/other");
    tree.folder("a/b/same");
    tree.file("a/b/file");
    tree.file("a/file");
    tree.folder("source");
    tree.file("source/kept");
    ASSERT_EQ(::mount("none", tree.path("a/b/other").c_str(), "tmpfs", 0, nullptr), 0);
    tree.file("a/b/other/kept");
    ASSERT_EQ(::mount(tree.path("source").c_str(), tree.path("a/b/same").c_str(), nullptr, MS_BIND, nullptr), 0);
    // unlinkat(2) says EBUSY for a mount point.
    const int code = remove_within(tree.root(), "a");
    EXPECT_TRUE(code == EXDEV || code == EBUSY) << code;
    EXPECT_TRUE(exists("a/b/other/kept"));
    EXPECT_TRUE(exists("a/b/same/kept"));
    EXPECT_TRUE(exists("source/kept"));
    EXPECT_FALSE(exists("a/b/file"));
    EXPECT_FALSE(exists("a/file"));
    ASSERT_EQ(::umount(tree.path("a/b/other").c_str()), 0);
    ASSERT_EQ(::umount(tree.path("a/b/same").c_str()), 0);
    EXPECT_EQ(remove_within(tree.root(), "a"), 0);
    EXPECT_TRUE(exists("source/kept"));
  });
}

TEST_F(RemovalTest, FoldersOfOursAreOpenedUp) {
  ASSERT_EQ(::fchmodat(tree.root(), ".", 0777, 0), 0);
  in_child([&] {
    become_ordinary_user();
    tree.folder("ours");
    tree.folder("ours/below");
    tree.file("ours/below/file");
    ASSERT_EQ(::fchmodat(tree.root(), "ours/below", 0, 0), 0);
    ASSERT_EQ(::fchmodat(tree.root(), "ours", 0500, 0), 0);
    EXPECT_EQ(remove_within(tree.root(), "ours"), 0);
    EXPECT_FALSE(exists("ours"));
  });
}

TEST_F(RemovalTest, WhatMayNotGoIsSaid) {
  if (::geteuid() != 0) return say_not_tested("files of others: not root");
  tree.folder("others");
  tree.file("others/file");
  ASSERT_EQ(::fchmodat(tree.root(), ".", 0777, 0), 0);
  in_child([&] {
    become_ordinary_user();
    EXPECT_EQ(remove_within(tree.root(), "others"), EACCES);
    EXPECT_TRUE(exists("others/file"));
  });
}

}  // namespace
}  // namespace syncropy

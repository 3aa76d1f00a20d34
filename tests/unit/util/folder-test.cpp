#include "util/folder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "tests/support/scratch.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

class Folder : public testing::Test {
 protected:
  Scratch scratch;
  Fd root{::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY)};
};

TEST_F(Folder, NothingLeadsOut) {
  ASSERT_EQ(::mkdirat(root.get(), "in", 0700), 0);
  ASSERT_EQ(::symlinkat("/etc", root.get(), "in/out"), 0);
  ASSERT_EQ(::symlinkat("in", root.get(), "alias"), 0);
  EXPECT_FALSE(open_beneath(root.get(), "in/out/passwd", O_RDONLY));
  EXPECT_EQ(errno, ELOOP);
  EXPECT_FALSE(open_beneath(root.get(), "in/out", O_RDONLY));
  EXPECT_FALSE(open_beneath(root.get(), "alias/x", O_RDONLY)) << "not even to a place inside";
  EXPECT_FALSE(open_beneath(root.get(), "../" + scratch.path(), O_RDONLY));
  EXPECT_FALSE(open_beneath(root.get(), "/etc/passwd", O_RDONLY));
  EXPECT_FALSE(open_beneath(root.get(), std::string("in\0/..", 6), O_RDONLY));
  EXPECT_TRUE(open_beneath(root.get(), "in", O_RDONLY | O_DIRECTORY));
  EXPECT_TRUE(open_beneath(root.get(), "", O_RDONLY | O_DIRECTORY));
}

TEST_F(Folder, APathMayBeLongerThanPathMax) {
  std::string path;
  Fd at = root.duplicate();
  for (int i = 0; i < 60; ++i) {
    const std::string name(250, static_cast<char>('a' + i % 26));
    ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0700), 0);
    at = Fd(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY));
    path += (path.empty() ? "" : "/") + name;
  }
  create_file(at.get(), "leaf", "deep", 0400);
  const Fd leaf = open_beneath(root.get(), path + "/leaf", O_RDONLY);
  ASSERT_TRUE(leaf);
  EXPECT_EQ(read_all(leaf.get(), 10, ExitStatus::data, "leaf"), "deep");
}

TEST_F(Folder, ACursorMovesInAnyOrder) {
  for (const char* path : {"a", "a/b", "a/b/c", "a/bb", "d"}) ASSERT_EQ(::mkdirat(root.get(), path, 0700), 0);
  FolderCursor cursor(root.duplicate());
  auto inode = [&](std::string_view path) {
    struct stat st{};
    return ::fstat(cursor.move_to(path), &st) == 0 ? st.st_ino : 0;
  };
  auto direct = [&](const char* path) {
    struct stat st{};
    return ::fstatat(root.get(), path, &st, 0) == 0 ? st.st_ino : 0;
  };
  for (const char* path : {"a/b/c", "a/bb", "a/b", "d", "a", "a/b/c", "a/b/c"}) EXPECT_EQ(inode(path), direct(path)) << path;
  EXPECT_EQ(inode(""), direct("."));
  EXPECT_LT(cursor.move_to("a/none/c"), 0);
  EXPECT_EQ(inode("a/b/c"), direct("a/b/c")) << "a miss leaves it usable";
  cursor.forget("a/b");
  EXPECT_EQ(inode("a/b/c"), direct("a/b/c"));
}

}  // namespace
}  // namespace syncropy

#include "util/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/scratch.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

TEST(RemoveTree, TakesAwayWhatIsDeepWideAndClosed) {
  const Scratch scratch;
  const Fd root(::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY));
  // 300 folders deep with long names: the path is longer than PATH_MAX.
  Fd at(::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_EQ(::mkdirat(at.get(), "victim", 0700), 0);
  at = Fd(::openat(at.get(), "victim", O_RDONLY | O_DIRECTORY));
  const std::string name(200, 'd');
  for (int i = 0; i < 300; ++i) {
    create_file(at.get(), "file", "x", 0400);
    ASSERT_EQ(::mkdirat(at.get(), ".remove-1", 0700), 0);
    ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0700), 0);
    at = Fd(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY));
  }
  ASSERT_EQ(::symlinkat("/", at.get(), "link"), 0);
  create_file(root.get(), "bystander", "x", 0400);
  ASSERT_EQ(::fchmodat(root.get(), "victim", 0500, 0), 0);
  remove_tree(root.get(), "victim");
  EXPECT_EQ(names_in(root.get()), std::vector<std::string>{"bystander"});
  remove_tree(root.get(), "never was");
}

TEST(ReadFile, HasABoundAndReadsRegularFilesOnly) {
  const Scratch scratch;
  const Fd root(::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY));
  create_file(root.get(), "f", std::string(100, 'x'), 0600);
  EXPECT_EQ(read_file(root.get(), "f", 100, ExitStatus::data), std::string(100, 'x'));
  EXPECT_THROW(static_cast<void>(read_file(root.get(), "f", 99, ExitStatus::data)), Error);
  ASSERT_EQ(::mkfifoat(root.get(), "fifo", 0600), 0);
  EXPECT_THROW(static_cast<void>(read_file(root.get(), "fifo", 99, ExitStatus::data)), Error);
  ASSERT_EQ(::symlinkat("f", root.get(), "link"), 0);
  EXPECT_THROW(static_cast<void>(read_file(root.get(), "link", 100, ExitStatus::data)), Error);
  EXPECT_THROW(create_file(root.get(), "f", "y", 0600), Error) << "never over something";
}

}  // namespace
}  // namespace syncropy

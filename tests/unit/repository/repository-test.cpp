#include "repository/repository.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

ExitStatus status_of(auto&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_FALSE(error.remedy().empty()) << error.what();
    return error.status();
  }
  return ExitStatus::success;
}

TEST(Repository, IsMadeOnceAndOpened) {
  const Scratch scratch;
  const std::string path = scratch.path() + "/repo";
  Repository::create(path);
  const Repository repository = Repository::open(path, true);
  EXPECT_EQ(repository.id().size(), 32U);
  EXPECT_EQ(Repository::open(path, false).id(), repository.id());
  struct stat st{};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700U);
  EXPECT_EQ(status_of([&] { Repository::create(path); }), ExitStatus::repository);
}

TEST(Repository, WhatAnInterruptedMakingLeftIsNotInTheWay) {
  const Scratch scratch;
  const std::string path = scratch.path() + "/repo";
  std::filesystem::create_directories(path + "/.syncropy-new");
  std::ofstream(path + "/.syncropy-new/format") << "syncropy repo";
  Repository::create(path);
  EXPECT_EQ(Repository::open(path, true).id().size(), 32U);
  EXPECT_FALSE(std::filesystem::exists(path + "/.syncropy-new"));
}

// An unmounted disk is an empty folder: a backup into it would fill the wrong filesystem.
TEST(Repository, WhatIsNotOneIsRefused) {
  const Scratch scratch;
  EXPECT_EQ(status_of([&] { static_cast<void>(Repository::open(scratch.path() + "/none", true)); }), ExitStatus::repository);
  EXPECT_EQ(status_of([&] { static_cast<void>(Repository::open(scratch.path(), true)); }), ExitStatus::repository);
  EXPECT_EQ(status_of([&] { Repository::create(scratch.path() + "/no/parent"); }), ExitStatus::repository);
  std::ofstream(scratch.path() + "/something") << "x";
  EXPECT_EQ(status_of([&] { Repository::create(scratch.path()); }), ExitStatus::repository);
  std::filesystem::create_directory(scratch.path() + "/.syncropy");
  std::ofstream(scratch.path() + "/.syncropy/format") << "syncropy repository 9\nid x\n";
  EXPECT_EQ(status_of([&] { static_cast<void>(Repository::open(scratch.path(), true)); }), ExitStatus::repository);
}

TEST(Repository, AClientsNameLeadsNowhereElse) {
  const Scratch scratch;
  Repository::create(scratch.path() + "/repo");
  const Repository repository = Repository::open(scratch.path() + "/repo", true);
  EXPECT_EQ(status_of([&] { static_cast<void>(repository.client("..")); }), ExitStatus::usage);
  EXPECT_EQ(status_of([&] { static_cast<void>(repository.client("a/b")); }), ExitStatus::usage);
  static_cast<void>(repository.client("web1"));
  EXPECT_EQ(repository.clients(), std::vector<std::string>{"web1"});
  EXPECT_EQ(status_of([&] { static_cast<void>(Repository::open(scratch.path() + "/repo", false).client("web2")); }), ExitStatus::no_input);
  std::filesystem::create_directory_symlink("/", scratch.path() + "/repo/evil");
  EXPECT_NE(status_of([&] { static_cast<void>(repository.client("evil")); }), ExitStatus::success);
}

}  // namespace
}  // namespace syncropy

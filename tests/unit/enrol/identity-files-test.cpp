#include "enrol/identity-files.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "util/error.hpp"

namespace syncropy {
namespace {

class IdentityFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/syncropy-identity-test.XXXXXX";
    base_ = ::mkdtemp(pattern);
    place_ = place_in(base_ + "/a/keys/", "agent", {});
  }
  void TearDown() override { std::filesystem::remove_all(base_); }
  std::string text(const std::string& file) const { return read_file(AT_FDCWD, file, 1'000, ExitStatus::data); }
  static mode_t mode(const std::string& file) {
    struct stat st{};
    EXPECT_EQ(::lstat(file.c_str(), &st), 0) << file;
    return st.st_mode & 07777;
  }

  std::string base_;
  IdentityPlace place_;
};

TEST_F(IdentityFiles, TheKeyIsNobodyElses) {
  prepare_place(place_);
  write_identity(place_, {"key\n", "certificate\n", "root\n", "list\n", 0}, true);
  EXPECT_EQ(text(place_.key_file), "key\ncertificate\n");
  EXPECT_EQ(mode(place_.key_file), 0600U);
  EXPECT_EQ(text(place_.certificate_file()), "certificate\n");
  EXPECT_EQ(text(place_.root_file()), "root\n");
  EXPECT_EQ(text(place_.revoked_file()), "list\n");
  EXPECT_EQ(mode(place_.root_file()), 0644U);
  EXPECT_EQ(place_.setting(), base_ + "/a/keys/agent.key");
}

TEST_F(IdentityFiles, WhatAPersonPutThereIsKept) {
  prepare_place(place_);
  for (int i = 1; i <= 3; ++i) write_identity(place_, {"key" + std::to_string(i) + "\n", "c\n", "r\n", "", 0}, true);
  EXPECT_EQ(text(place_.key_file), "key3\nc\n");
  EXPECT_EQ(text(place_.key_file + ".old"), "key1\nc\n");
  EXPECT_EQ(text(place_.key_file + ".old2"), "key2\nc\n");
  EXPECT_EQ(mode(place_.key_file + ".old"), 0600U);
}

TEST_F(IdentityFiles, ARenewalReplacesInPlace) {
  prepare_place(place_);
  write_identity(place_, {"key1\n", "c1\n", "r\n", "l1\n", 0}, true);
  write_identity(place_, {"key2\n", "c2\n", "r\n", "", 0}, false);
  EXPECT_EQ(text(place_.key_file), "key2\nc2\n");
  EXPECT_EQ(text(place_.revoked_file()), "l1\n");
  EXPECT_FALSE(std::filesystem::exists(place_.key_file + ".old"));
}

TEST_F(IdentityFiles, AServerThatIsItsOwnClientHasTwoLists) {
  const IdentityPlace server = place_in(base_, "server", {}), agent = place_in(base_, "agent", {});
  EXPECT_NE(server.root_file(), agent.root_file());
  EXPECT_NE(server.revoked_file(), agent.revoked_file());
  EXPECT_EQ(system_place("agent").setting(), "credential:syncropy-agent.key");
}

}  // namespace
}  // namespace syncropy

#include "catalog/crash-guard.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include "tests/support/scratch.hpp"
#include "util/error.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

const std::string this_boot(32, 'a'), another_boot(32, 'b');

class Guard : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& content) { std::ofstream(name) << content; }
  std::string mark() { return read_file(AT_FDCWD, database + ".unsynced", 100, ExitStatus::io); }
  bool exists() {
    struct stat st{};
    return ::stat(database.c_str(), &st) == 0;
  }
  Scratch scratch;
  std::string database = scratch.path() + "/c.fdb";
};

TEST_F(Guard, TheMarkStandsWhileSomebodyWritesAndGoesWithTheLast) {
  write(database, "rows");
  std::optional<CrashGuard> first(std::in_place, database, this_boot), second(std::in_place, database, this_boot);
  EXPECT_EQ(mark(), this_boot + "\n");
  first.reset();
  EXPECT_EQ(mark(), this_boot + "\n");
  EXPECT_FALSE(second->was_unsafe());
  second.reset();
  EXPECT_EQ(mark(), "");
  EXPECT_TRUE(exists());
}

TEST_F(Guard, AfterAnotherBootTheDatabaseIsNotBelieved) {
  write(database, "half of the rows");
  write(database + ".unsynced", another_boot + "\n");
  EXPECT_TRUE(CrashGuard::is_unsafe(database, this_boot));
  EXPECT_FALSE(CrashGuard::is_unsafe(database, "")) << "a reader that cannot tell does not refuse";
  {
    const CrashGuard guard(database, this_boot);
    EXPECT_TRUE(guard.was_unsafe());
    EXPECT_FALSE(exists());
    EXPECT_EQ(mark(), this_boot + "\n");
    write(database, "new rows");
  }
  EXPECT_EQ(mark(), "");
  EXPECT_TRUE(exists());
  EXPECT_FALSE(CrashGuard(database, this_boot).was_unsafe());
}

TEST_F(Guard, OfThisBootAMarkIsThatOfAProcessThatWasKilled) {
  write(database, "rows");
  write(database + ".unsynced", this_boot + "\n");
  EXPECT_FALSE(CrashGuard::is_unsafe(database, this_boot));
  EXPECT_FALSE(CrashGuard(database, this_boot).was_unsafe());
  EXPECT_TRUE(exists());
  EXPECT_EQ(mark(), "");
}

TEST_F(Guard, AWriterThatCannotTellTheBootBelievesNoMark) {
  write(database, "rows");
  write(database + ".unsynced", this_boot + "\n");
  {
    const CrashGuard guard(database, "");
    EXPECT_TRUE(guard.was_unsafe());
    EXPECT_TRUE(CrashGuard::is_unsafe(database, this_boot));
  }
}

TEST_F(Guard, AnUpgradeThatDidNotEndIsNotBelievedWhateverTheBoot) {
  write(database, "old");
  {
    CrashGuard guard(database, this_boot);
    guard.begin_upgrade();
    guard.end_upgrade();
    EXPECT_EQ(mark(), this_boot + "\n");
  }
  EXPECT_EQ(mark(), "");
  for (const std::string& boot : {this_boot, another_boot, std::string()}) {
    write(database, "half of a table");
    write(database + ".unsynced", "");
    {
      CrashGuard before(database, this_boot);  // its end does not take the mark away either
      CrashGuard(database, this_boot).begin_upgrade();
    }
    EXPECT_TRUE(CrashGuard::is_unsafe(database, boot));
    const CrashGuard guard(database, boot);
    EXPECT_TRUE(guard.was_unsafe());
    EXPECT_FALSE(exists());
  }
}

TEST_F(Guard, WhatHasTakenItsPlaceIsForgiven) {
  write(database, "rebuilt");
  write(database + ".unsynced", another_boot + "\n");
  CrashGuard::forgive(database, this_boot);
  EXPECT_FALSE(CrashGuard(database, this_boot).was_unsafe());
  EXPECT_TRUE(exists());
}

TEST_F(Guard, ADatabaseThatWasNeverMadeLeavesTheMark) {
  { const CrashGuard guard(database, this_boot); }
  EXPECT_EQ(mark(), this_boot + "\n");
  EXPECT_THROW(CrashGuard("/nowhere/c.fdb", this_boot), Error);
}

TEST_F(Guard, TheBootIsTheKernelsOrTheUnits) {
  ::unsetenv("SYNCROPY_BOOT_ID");
  const std::string kernels = boot_id();
  EXPECT_EQ(kernels.size(), 32U);
  ::setenv("SYNCROPY_BOOT_ID", another_boot.c_str(), 1);
  EXPECT_EQ(boot_id(), another_boot);
  ::setenv("SYNCROPY_BOOT_ID", "%b", 1);
  EXPECT_EQ(boot_id(), "");
  ::unsetenv("SYNCROPY_BOOT_ID");
}

}  // namespace
}  // namespace syncropy

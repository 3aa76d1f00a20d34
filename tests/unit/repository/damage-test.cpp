#include "repository/damage.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/support/scratch.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

namespace fs = std::filesystem;

class DamageNotes : public testing::Test {
 protected:
  [[nodiscard]] DamageList again() const { return DamageList::read(folder.get()); }
  void write(const DamageList& list) const { list.write(folder.get(), "web1/hour/x"); }

  Scratch scratch;
  Fd folder{::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY)};
  std::string file = scratch.path() + "/damaged";
};

TEST_F(DamageNotes, NothingIsNotedWhereNothingIs) {
  EXPECT_TRUE(again().empty());
  EXPECT_FALSE(again().has("a"));
  write({});
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(DamageNotes, ComeBackAsTheyWereWritten) {
  DamageList list;
  list.add("", DamageKind::missing);
  list.add("a\nb\xff", DamageKind::content);
  list.add("c/d", DamageKind::unexpected);
  list.add_manifest();
  write(list);
  const DamageList read = again();
  EXPECT_EQ(read, list);
  EXPECT_TRUE(read.has("a\nb\xff"));
  EXPECT_TRUE(read.has(""));
  EXPECT_FALSE(read.has("c"));
  EXPECT_FALSE(read.everything());
  struct stat st{};
  ASSERT_EQ(::stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777U, 0600U);
}

TEST_F(DamageNotes, TheWorstOfAPathStays) {
  DamageList list;
  list.add("a", DamageKind::time);
  list.add("a", DamageKind::content);
  list.add("a", DamageKind::mode);
  EXPECT_EQ(list.paths().at("a"), DamageKind::content);
}

TEST_F(DamageNotes, WithTheLastOfThemTheFileGoes) {
  DamageList list;
  list.add("a", DamageKind::time);
  write(list);
  EXPECT_TRUE(fs::exists(file));
  write({});
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(DamageNotes, WhatAnInterruptedWriteLeftIsInNobodysWay) {
  std::ofstream(scratch.path() + "/damaged-new") << "half";
  DamageList list;
  list.add("a", DamageKind::time);
  write(list);
  EXPECT_EQ(again(), list);
  EXPECT_FALSE(fs::exists(scratch.path() + "/damaged-new"));
}

// Taken for intact, what it names would be linked again.
TEST_F(DamageNotes, AListThatCannotBeReadNamesEverything) {
  DamageList list;
  list.add("a", DamageKind::time);
  write(list);
  std::string bytes;
  std::ifstream in(file, std::ios::binary);
  bytes.assign(std::istreambuf_iterator<char>(in), {});
  auto expect_everything = [&](const std::string& content) {
    fs::remove_all(file);
    std::ofstream(file, std::ios::binary) << content;
    EXPECT_TRUE(again().everything()) << content.size();
    EXPECT_TRUE(again().has("anything"));
    EXPECT_FALSE(again().empty());
  };
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 4);
    expect_everything(flipped);
    expect_everything(bytes.substr(0, i));
  }
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_TRUE(again().everything());
  fs::remove(file);
  fs::create_symlink("/etc/passwd", file);
  EXPECT_TRUE(again().everything());
}

TEST_F(DamageNotes, MoreThanThereIsRoomForIsEverything) {
  DamageList list;
  for (std::size_t i = 0; i < limits::damaged_paths; ++i) list.add(std::to_string(i), DamageKind::missing);
  EXPECT_FALSE(list.everything());
  write(list);
  EXPECT_EQ(again(), list);
  list.add("one more", DamageKind::missing);
  EXPECT_TRUE(list.everything());
  write(list);
  EXPECT_TRUE(again().everything());
  DamageList of_long_paths;
  for (std::size_t i = 0; i < limits::damaged_bytes / 65'000 + 1; ++i) of_long_paths.add(std::string(65'000, 'x') + std::to_string(i), DamageKind::size);
  EXPECT_TRUE(of_long_paths.everything());
}

}  // namespace
}  // namespace syncropy

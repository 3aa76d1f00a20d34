#include "server/moved.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

class Moved : public testing::Test {
 protected:
  // Folders of 40 files each, over several segments; file N of all has inode 1000 + N and N bytes.
  void write(unsigned files) {
    ManifestWriter writer(folder(), nullptr, Fd(), nullptr);
    DatasetInfo info;
    info.client = "web1";
    info.tier = Tier::hour;
    info.name = "2026-11-22T190500Z";
    info.sequence = 1;
    auto add = [&](const Entry& entry) {
      writer.add(entry);
      ++info.entries;
    };
    add(folder_entry(""));
    for (unsigned number = 0; number < files; ++number) {
      char name[32];
      std::snprintf(name, sizeof name, "folder%04u", number / 40);
      if (number % 40 == 0) add(folder_entry(name));
      std::snprintf(name, sizeof name, "folder%04u/%02u", number / 40, number % 40);
      Entry entry = file_entry(name, std::string(number, 'x'));
      entry.stat.inode = 1'000 + number;
      add(entry);
    }
    writer.finish(info);
  }
  Fd folder() { return Fd(::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY)); }
  static Stat stat_of_file(unsigned number) {
    Stat stat = file_entry("x", std::string(number, 'x')).stat;
    stat.inode = 1'000 + number;
    return stat;
  }
  Scratch scratch;
};

TEST_F(Moved, FilesAreFoundByInodeSizeAndTime) {
  write(5'000);
  ASSERT_GT(ManifestReader(folder(), "m").index().segments.size(), 2U);
  MovedFiles moved(folder(), "m");
  for (unsigned number = 1; number < 5'000; number += 7) {
    const std::optional<Entry> found = moved.find(stat_of_file(number));
    ASSERT_TRUE(found) << number;
    EXPECT_EQ(found->stat.inode, 1'000 + number);
    EXPECT_EQ(found->stat.size, number);
    EXPECT_EQ(name_of(found->path), (number % 40 < 10 ? "0" : "") + std::to_string(number % 40));
  }
  EXPECT_TRUE(moved.find(stat_of_file(4'999)));
  EXPECT_TRUE(moved.find(stat_of_file(3))) << "back again";
  Stat other = stat_of_file(100);
  other.size += 1;
  EXPECT_FALSE(moved.find(other));
  other = stat_of_file(100);
  other.mtime.nanoseconds += 1;
  EXPECT_FALSE(moved.find(other));
  other = stat_of_file(100);
  other.inode = 99;
  EXPECT_FALSE(moved.find(other));
}

TEST_F(Moved, OfTooManyTheLargerOnesStay) {
  write(3'000);
  MovedFiles moved(folder(), "m", 1'000);
  unsigned found = 0;
  for (unsigned number = 1; number < 3'000; ++number) found += moved.find(stat_of_file(number)).has_value();
  EXPECT_LE(found, 1'000U);
  EXPECT_GT(found, 300U);
  EXPECT_TRUE(moved.find(stat_of_file(2'999)));
  EXPECT_FALSE(moved.find(stat_of_file(5)));
}

}  // namespace
}  // namespace syncropy

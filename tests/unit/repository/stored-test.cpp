#include "repository/stored.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

namespace fs = std::filesystem;

class Stored : public testing::Test {
 protected:
  // As a run stores it.
  Entry store(const std::string& name, const std::string& content) {
    const Entry entry = file_entry(name, content);
    std::ofstream(scratch.path() + "/" + name, std::ios::binary) << content;
    as_stored(name, entry, 0400);
    return entry;
  }
  void as_stored(const std::string& name, const Entry& entry, mode_t mode) const {
    const std::string path = scratch.path() + "/" + name;
    if (mode != 0) ::chmod(path.c_str(), mode);
    const timespec times[2] = {{0, UTIME_OMIT}, {entry.stat.mtime.seconds, static_cast<long>(entry.stat.mtime.nanoseconds)}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }
  [[nodiscard]] std::optional<DamageKind> name_damage(const std::string& name, const Entry& entry) const {
    struct stat st{};
    return check_name(folder.get(), name, entry, st).damage;
  }
  [[nodiscard]] std::optional<DamageKind> content_damage(const std::string& name, const Entry& entry) {
    return check_content(folder.get(), name, entry, [this](std::uint64_t bytes) { read += bytes; }).damage;
  }

  Scratch scratch;
  Fd folder{::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY)};
  std::uint64_t read = 0;
};

TEST_F(Stored, WhatIsAsItShouldBe) {
  const Entry file = store("file", "content");
  EXPECT_EQ(name_damage("file", file), std::nullopt);
  EXPECT_EQ(content_damage("file", file), std::nullopt);
  EXPECT_EQ(read, 7U);
  const Entry empty = store("empty", "");
  EXPECT_EQ(content_damage("empty", empty), std::nullopt);
  Entry link = file_entry("link", "");
  link.stat.type = FileType::symlink;
  link.details.link_target = std::string(4'095, 't');
  fs::create_symlink(link.details.link_target, scratch.path() + "/link");
  as_stored("link", link, 0);
  EXPECT_EQ(name_damage("link", link), std::nullopt);
  const Entry inner = folder_entry("folder");
  fs::create_directory(scratch.path() + "/folder");
  as_stored("folder", inner, 0700);
  EXPECT_EQ(name_damage("folder", inner), std::nullopt);
}

TEST_F(Stored, EveryDifferenceOfANameIsDamage) {
  const Entry file = store("file", "content");
  auto with = [&](auto change) {
    Entry other = file;
    change(other);
    return name_damage("file", other);
  };
  EXPECT_EQ(with([](Entry& e) { e.stat.size = 8; }), DamageKind::size);
  EXPECT_EQ(with([](Entry& e) { e.stat.mtime.nanoseconds += 1; }), DamageKind::time);
  EXPECT_EQ(with([](Entry& e) { e.stat.mtime.seconds += 1; }), DamageKind::time);
  EXPECT_EQ(with([](Entry& e) { e.stat.mtime.seconds = INT64_C(1) << 40; }), std::nullopt) << "filesystems clamp it";
  EXPECT_EQ(with([](Entry& e) { e.stat.type = FileType::folder; }), DamageKind::type);
  EXPECT_EQ(with([](Entry& e) { e.stat.type = FileType::symlink; }), DamageKind::type);
  EXPECT_EQ(with([](Entry& e) { e.stat.mode = 04777; }), std::nullopt) << "the client's mode stands in the manifest alone";
  as_stored("file", file, 0600);
  EXPECT_EQ(name_damage("file", file), DamageKind::mode);
  EXPECT_EQ(name_damage("gone", file), DamageKind::missing);
  Entry link = file_entry("link", "");
  link.stat.type = FileType::symlink;
  link.details.link_target = "here";
  fs::create_symlink("herf", scratch.path() + "/link");
  as_stored("link", link, 0);
  EXPECT_EQ(name_damage("link", link), DamageKind::target);
}

TEST_F(Stored, EachBitOfContentCounts) {
  for (const std::size_t size : {1U, 4'097U, (1U << 20) + 1U}) {
    const std::string content(size, 'x');
    const Entry entry = store("file", content);
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      std::string flipped = content;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x40);
      fs::remove(scratch.path() + "/file");
      std::ofstream(scratch.path() + "/file", std::ios::binary) << flipped;
      EXPECT_EQ(content_damage("file", entry), DamageKind::content) << size << " " << at;
    }
    fs::remove(scratch.path() + "/file");
  }
}

TEST_F(Stored, HolesAreZerosAndAreNotRead) {
  Entry entry = file_entry("sparse", "");
  entry.stat.size = 100 << 20;
  Hasher hasher;
  hasher.update_zeros(50 << 20);
  hasher.update("data");
  hasher.update_zeros((50 << 20) - 4);
  entry.digest = hasher.finish();
  const std::string path = scratch.path() + "/sparse";
  const Fd file(::open(path.c_str(), O_RDWR | O_CREAT, 0600));
  ASSERT_EQ(::ftruncate(file.get(), 100 << 20), 0);
  ASSERT_EQ(::pwrite(file.get(), "data", 4, 50 << 20), 4);
  EXPECT_EQ(content_damage("sparse", entry), std::nullopt);
  EXPECT_LT(read, 1U << 20);
  ASSERT_EQ(::pwrite(file.get(), "\1", 1, 90 << 20), 1);
  EXPECT_EQ(content_damage("sparse", entry), DamageKind::content);
  ASSERT_EQ(::ftruncate(file.get(), (100 << 20) - 1), 0);
  EXPECT_EQ(content_damage("sparse", entry), DamageKind::size);
}

TEST_F(Stored, WhatCannotBeReadIsDamageAndWhatCannotBeReadNowIsNot) {
  const Entry entry = store("file", "content");
  fs::create_directory(scratch.path() + "/folder");
  EXPECT_EQ(content_damage("folder", entry), DamageKind::size);
  EXPECT_EQ(content_damage("gone", entry), DamageKind::missing);
  fs::create_symlink("file", scratch.path() + "/link");
  EXPECT_EQ(content_damage("link", entry), DamageKind::unreadable) << "no link is followed";
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_THROW(static_cast<void>(content_damage("file", entry)), SystemError);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_F(Stored, AThrowEndsTheReading) {
  const Entry entry = store("file", std::string(20 << 20, 'x'));
  struct Enough {};
  EXPECT_THROW(static_cast<void>(check_content(folder.get(), "file", entry, [](std::uint64_t) { throw Enough{}; })), Enough);
}

TEST_F(Stored, NamesAreCounted) {
  EXPECT_EQ(count_names(folder.get()), 0U);
  for (int i = 0; i < 3'000; ++i) std::ofstream(scratch.path() + "/a rather long name to fill more than one buffer " + std::to_string(i)) << "";
  EXPECT_EQ(count_names(folder.get()), 3'000U);
  EXPECT_EQ(count_names(folder.get()), 3'000U);
}

}  // namespace
}  // namespace syncropy

// What the two extractors of tests/integration/test_export.py cannot be made to show: the bytes themselves.

#include "server/export.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "server/pax-writer.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

class Pax : public testing::Test {
 protected:
  std::string stream_of(const Entry& entry, std::string_view content = {}, bool numeric = false) {
    const std::string name = scratch.path() + "/tar";
    const Fd file(::open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    OutputStream out(file.get(), "tar");
    PaxWriter tar(out, numeric);
    tar.add(entry);
    tar.data(content);
    tar.end_content();
    tar.finish();
    return read_file(AT_FDCWD, name, 1 << 20, ExitStatus::io);
  }
  // The record of `key` in the pax header that comes first, without its key; "-" where there is none.
  static std::string record(const std::string& stream, const std::string& key) {
    if (stream[156] != 'x') return "-";
    std::size_t at = 512;
    const std::size_t end = at + std::stoul(stream.substr(124, 11), nullptr, 8);
    while (at < end) {
      const std::size_t length = std::stoul(stream.substr(at));
      const std::size_t key_at = stream.find(' ', at) + 1;
      EXPECT_EQ(stream[at + length - 1], '\n');
      if (stream.compare(key_at, key.size() + 1, key + "=") == 0) return stream.substr(key_at + key.size() + 1, at + length - 1 - (key_at + key.size() + 1));
      at += length;
    }
    return "-";
  }
  Scratch scratch;
};

TEST_F(Pax, APlainFileNeedsOneHeader) {
  Entry entry = file_entry("a/b", "content");
  entry.stat.mtime.nanoseconds = 0;
  const std::string stream = stream_of(entry, "content");
  ASSERT_EQ(stream.size(), 10'240U);
  EXPECT_EQ(stream.substr(0, 4), std::string("a/b\0", 4));
  EXPECT_EQ(stream.substr(100, 8), std::string("0000644\0", 8));
  EXPECT_EQ(stream.substr(124, 12), std::string("00000000007\0", 12));
  EXPECT_EQ(stream.substr(156, 1), "0");
  EXPECT_EQ(stream.substr(257, 8), std::string("ustar\00000", 8));
  EXPECT_EQ(stream.substr(512, 7), "content");
  unsigned sum = 8 * ' ';
  for (std::size_t at = 0; at < 512; ++at)
    if (at < 148 || at >= 156) sum += static_cast<unsigned char>(stream[at]);
  EXPECT_EQ(std::stoul(stream.substr(148, 7), nullptr, 8), sum);
}

TEST_F(Pax, Times) {
  Entry entry = file_entry("f", "");
  for (const auto& [seconds, nanoseconds, text] : {std::tuple{INT64_C(1'700'000'000), 5U, "1700000000.000000005"}, {INT64_C(-1), 0U, "-1"}, {INT64_C(-1), 500'000'000U, "-0.500000000"},
                                                   {INT64_C(-86'400), 1U, "-86399.999999999"}, {INT64_C(1) << 40, 0U, "1099511627776"}, {INT64_C(0), 0U, "-"}}) {
    entry.stat.mtime = {seconds, nanoseconds};
    EXPECT_EQ(record(stream_of(entry), "mtime"), text);
  }
}

TEST_F(Pax, ALengthCountsItself) {
  Entry entry = file_entry("f", "");
  for (std::size_t size = 60; size < 1'000; size += size == 100 ? 850 : 1) {
    entry.details.xattrs = {{"user.n", std::string(size, 'v')}, {"user.z", "last"}};
    const std::string stream = stream_of(entry);
    ASSERT_EQ(record(stream, "SCHILY.xattr.user.n"), std::string(size, 'v'));
    ASSERT_EQ(record(stream, "SCHILY.xattr.user.z"), "last");
  }
}

TEST_F(Pax, AttributesOfAnyNameAndBytes) {
  Entry entry = file_entry("f", "");
  entry.details.xattrs = {{"security.capability", std::string("\x01\x00\n=", 4)}, {"trusted.x", ""}, {"user.a=b", "1"}, {"user.50%", "2"}, {"user.%25", "3"}};
  const std::string stream = stream_of(entry);
  EXPECT_EQ(record(stream, "SCHILY.xattr.security.capability"), std::string("\x01\x00\n=", 4));
  EXPECT_EQ(record(stream, "SCHILY.xattr.trusted.x"), "");
  EXPECT_EQ(record(stream, "SCHILY.xattr.user.a%3Db"), "1");
  EXPECT_EQ(record(stream, "SCHILY.xattr.user.50%"), "2");
  EXPECT_EQ(record(stream, "SCHILY.xattr.user.%2525"), "3");
}

TEST_F(Pax, AclsByNameAndNumber) {
  Entry entry = folder_entry("f");
  entry.details.access_acl = {{AclTag::user_owner, 7, 0, ""}, {AclTag::user, 6, 1000, "anna"}, {AclTag::user, 4, 1001, "12:3"}, {AclTag::group_owner, 5, 0, ""},
                              {AclTag::group, 1, 77, ""}, {AclTag::mask, 7, 0, ""}, {AclTag::other, 0, 0, ""}};
  entry.details.default_acl = {{AclTag::user_owner, 7, 0, ""}, {AclTag::group_owner, 5, 0, ""}, {AclTag::other, 0, 0, ""}};
  EXPECT_EQ(record(stream_of(entry), "SCHILY.acl.access"), "user::rwx,user:anna:rw-:1000,user:1001:r--:1001,group::r-x,group:77:--x:77,mask::rwx,other::---");
  EXPECT_EQ(record(stream_of(entry), "SCHILY.acl.default"), "user::rwx,group::r-x,other::---");
  EXPECT_NE(record(stream_of(entry, {}, true), "SCHILY.acl.access").find("user:1000:rw-:1000"), std::string::npos);
  EXPECT_EQ(stream_of(entry, {}, true).find("root"), std::string::npos);
}

TEST_F(Pax, NumbersBeyondTheHeader) {
  Entry entry = file_entry("f", "");
  entry.stat.uid = UINT32_MAX - 1;
  entry.stat.gid = 2'097'151;
  entry.stat.size = UINT64_C(9) << 30;
  const std::string stream = stream_of(entry);
  EXPECT_EQ(record(stream, "uid"), "4294967294");
  EXPECT_EQ(record(stream, "gid"), "-");
  EXPECT_EQ(record(stream, "size"), "9663676416");
}

TEST_F(Pax, SparseMap) {
  Entry entry = file_entry("f", "");
  entry.stat.size = UINT64_C(5) << 30;
  entry.details.sparse = true;
  entry.details.extents = {{4096, 3}, {UINT64_C(1) << 32, 2}};
  const std::string stream = stream_of(entry, "abcde");
  EXPECT_EQ(record(stream, "GNU.sparse.realsize"), "5368709120");
  EXPECT_EQ(record(stream, "size"), "-");
  const std::string map = "3\n4096\n3\n4294967296\n2\n5368709120\n0\n";
  EXPECT_EQ(stream.substr(1536, map.size()), map);
  EXPECT_EQ(stream.substr(2048, 5), "abcde");
  entry.details.extents = {};
  EXPECT_EQ(stream_of(entry).substr(1536, 15), std::string("1\n5368709120\n0\n"));
}

class Content : public testing::Test {
 protected:
  std::pair<std::string, bool> read(const std::string& stored, const Entry& entry) {
    const std::string name = scratch.path() + "/stored" + std::to_string(++count);
    create_file(AT_FDCWD, name, stored, 0600);
    ContentReader reader(Fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC)), entry);
    std::string all;
    for (ContentReader::Piece piece; reader.next(piece);) (all += std::string(piece.hole, '\0')) += piece.data;
    return {all, reader.is_intact()};
  }
  Scratch scratch;
  int count = 0;
};

TEST_F(Content, IsVerifiedAsItIsRead) {
  std::string large(3'000'000, 'x');
  large[2'999'999] = 'y';
  for (const std::string& content : {std::string(), std::string("x"), large}) EXPECT_EQ(read(content, file_entry("f", content)), std::pair(content, true));
  EXPECT_FALSE(read("other", file_entry("f", "bytes")).second);
  const auto [bytes, intact] = read("sho", file_entry("f", "short"));
  EXPECT_EQ(bytes, std::string("sho\0\0", 5)) << "as many as were announced";
  EXPECT_FALSE(intact);
}

TEST_F(Content, OfASparseFileIsItsExtents) {
  std::string content(4'000'000, '\0');
  content.replace(4096, 4, "data");
  content.replace(1'000'000, 2'000'000, std::string(2'000'000, 'd'));
  Entry entry = file_entry("f", content);
  entry.details.sparse = true;
  entry.details.extents = {{4096, 4}, {1'000'000, 2'000'000}};
  EXPECT_EQ(read(content, entry), std::pair(content, true));
  std::string spoilt = content;
  spoilt[10] = 'x';
  EXPECT_EQ(read(spoilt, entry), std::pair(content, true)) << "bytes in a hole are not handed out";
  spoilt[2'000'000] = 'x';
  EXPECT_FALSE(read(spoilt, entry).second);
  entry.details.extents = {{0, 4100}, {1'000'000, 3'000'000}};
  EXPECT_EQ(read(content, entry), std::pair(content, true)) << "up to the end";
  Entry hole = file_entry("f", std::string(5'000, '\0'));
  hole.details.sparse = true;
  EXPECT_EQ(read(std::string(5'000, '\0'), hole), std::pair(std::string(5'000, '\0'), true));
}

}  // namespace
}  // namespace syncropy

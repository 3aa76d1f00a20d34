#include "model/codec.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

#include "model/limits.hpp"
#include "tests/support/entries.hpp"

namespace syncropy {
namespace {

std::string encode(const std::vector<Entry>& entries) {
  ByteWriter out;
  std::string previous;
  for (const Entry& entry : entries) {
    put_entry(out, entry, previous);
    previous = entry.path;
  }
  return out.take();
}

std::vector<Entry> decode(std::string_view bytes) {
  ByteReader in(bytes, ExitStatus::data, "a test");
  std::vector<Entry> entries;
  std::string previous;
  while (!in.at_end()) {
    entries.push_back(get_entry(in, previous));
    previous = entries.back().path;
  }
  return entries;
}

TEST(Codec, EveryFeatureComesBack) {
  const std::vector<Entry> entries = one_of_each();
  EXPECT_EQ(decode(encode(entries)), entries);
}

// Format version 1: a manifest written by any release must read the same. The file was written by this very codec and is compared, never rewritten.
TEST(Codec, TheBytesOfVersion1StayAsTheyAre) {
  std::ifstream file(SYNCROPY_GOLDEN "/entries-1.bin", std::ios::binary);
  ASSERT_TRUE(file) << "tests/golden/entries-1.bin is missing";
  std::stringstream bytes;
  bytes << file.rdbuf();
  EXPECT_EQ(bytes.str(), encode(one_of_each()));
  EXPECT_EQ(decode(bytes.str()), one_of_each());
}

TEST(Codec, WhatBreaksARuleIsRefused) {
  auto refused = [](auto&& change) {
    Entry entry = file_entry("f", "x");
    change(entry);
    EXPECT_THROW(static_cast<void>(decode(encode({entry}))), Error);
  };
  refused([](Entry& e) { e.path = "../f"; });
  refused([](Entry& e) { e.path = "/f"; });
  refused([](Entry& e) { e.stat.type = static_cast<FileType>(0); });
  refused([](Entry& e) { e.stat.mtime.nanoseconds = 1'000'000'000; });
  refused([](Entry& e) { e.stat.size = limits::file_bytes + 1; });
  refused([](Entry& e) { e.digest.reset(); });
  refused([](Entry& e) { e.flags = 8; });
  refused([](Entry& e) { e.flags = unread; });
  refused([](Entry& e) { e.details.default_acl = {{AclTag::other, 0, 0, ""}}; });
  refused([](Entry& e) { e.details.access_acl = {{static_cast<AclTag>(9), 0, 0, ""}}; });
  refused([](Entry& e) { e.details.xattrs = {{"user.b", ""}, {"user.a", ""}}; });
  refused([](Entry& e) { e.details.xattrs = {{"user.a", std::string(limits::xattr_value_bytes + 1, 'x')}}; });
  refused([](Entry& e) { e.details.owner = std::string(256, 'x'); });
  refused([](Entry& e) { e.details.sparse = true, e.details.extents = {{0, 2}}; });
  refused([](Entry& e) { e.stat.size = 10, e.details.sparse = true, e.details.extents = {{0, 2}, {2, 1}}; });
  refused([](Entry& e) { e.stat.size = 10, e.details.sparse = true, e.details.extents = {{0, 0}}; });
}

TEST(Codec, NoDamageIsReadAsSomethingElseThanAnError) {
  const std::string good = encode(one_of_each());
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good;
    bad[random() % bad.size()] = static_cast<char>(random());
    if (random() % 3 == 0) bad.resize(random() % bad.size());
    try {
      for (const Entry& entry : decode(bad)) EXPECT_EQ(why_not_a_path(entry.path), nullptr);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::data);
    }
  }
}

}  // namespace
}  // namespace syncropy

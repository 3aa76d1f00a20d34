#include "catalog/fingerprint.hpp"

#include <gtest/gtest.h>

#include "tests/support/entries.hpp"

namespace syncropy {
namespace {

Digest row_of(const Entry& entry) { return digest_of_row(row_values(entry)); }

TEST(Fingerprint, OrderAndTheSplittingOfAVersionDoNotMatter) {
  const Digest a = row_of(file_entry("a", "x")), b = row_of(file_entry("b", "x"));
  Fingerprint one, other;
  one.begin(a, 1);
  one.begin(b, 2);
  one.end(a, 5);
  other.begin(b, 2);
  other.begin(a, 1);
  other.end(a, 3);  // one row ends where the next begins
  other.begin(a, 3);
  other.end(a, 5);
  EXPECT_EQ(one.first_difference(other), std::nullopt);
  EXPECT_EQ(other.first_difference(one), std::nullopt);
}

TEST(Fingerprint, EachDifferenceShowsAtItsSequence) {
  const Digest a = row_of(file_entry("a", "x")), b = row_of(file_entry("b", "x"));
  Fingerprint base;
  base.begin(a, 1);
  base.begin(b, 2);
  base.end(b, 4);
  auto differs = [&](auto change) {
    Fingerprint other;
    change(other);
    EXPECT_EQ(base.first_difference(other), other.first_difference(base));
    return base.first_difference(other);
  };
  EXPECT_EQ(differs([](Fingerprint&) {}), 1U);
  EXPECT_EQ(differs([&](Fingerprint& f) { f.begin(a, 1), f.begin(b, 2); }), 4U);
  EXPECT_EQ(differs([&](Fingerprint& f) { f.begin(a, 1), f.begin(b, 3), f.end(b, 4); }), 2U);
  EXPECT_EQ(differs([&](Fingerprint& f) { f.begin(a, 1), f.begin(b, 2), f.end(b, 4), f.begin(a, 9); }), 9U);
  EXPECT_EQ(differs([&](Fingerprint& f) { f.begin(a, 1), f.begin(a, 1), f.begin(b, 2), f.end(b, 4); }), 1U) << "a row twice";
}

// RACY alone says how an entry was read, and not what it is.
TEST(Fingerprint, EveryColumnCountsButOne) {
  for (const Entry& entry : one_of_each()) {
    const Digest is = row_of(entry);
    auto expect_other = [&](const char* what, auto change) {
      Entry changed = entry;
      change(changed);
      EXPECT_TRUE(changed == entry || row_of(changed) != is) << entry.path << ": " << what;
    };
    expect_other("path", [](Entry& e) { e.path += "x"; });
    expect_other("type", [](Entry& e) { e.stat.type = e.stat.type == FileType::fifo ? FileType::socket : FileType::fifo; });
    expect_other("mode", [](Entry& e) { e.stat.mode ^= 1; });
    expect_other("uid", [](Entry& e) { e.stat.uid ^= 1; });
    expect_other("gid", [](Entry& e) { e.stat.gid ^= 1; });
    expect_other("owner", [](Entry& e) { e.details.owner += "x"; });
    expect_other("group", [](Entry& e) { e.details.group += "x"; });
    expect_other("size", [](Entry& e) { e.stat.size ^= 1; });
    expect_other("mtime", [](Entry& e) { e.stat.mtime.seconds ^= 1; });
    expect_other("mtime_ns", [](Entry& e) { e.stat.mtime.nanoseconds ^= 1; });
    expect_other("ctime", [](Entry& e) { e.stat.ctime.seconds ^= 1; });
    expect_other("ctime_ns", [](Entry& e) { e.stat.ctime.nanoseconds ^= 1; });
    expect_other("inode", [](Entry& e) { e.stat.inode ^= 1; });
    expect_other("filesystem", [](Entry& e) { e.stat.filesystem ^= 1; });
    expect_other("links", [](Entry& e) { e.stat.links ^= 1; });
    expect_other("unstable", [](Entry& e) { e.flags ^= unstable; });
    expect_other("unread", [](Entry& e) { e.flags ^= unread; });
    expect_other("xattr", [](Entry& e) { e.details.xattrs.push_back({"user.zzz", "x"}); });
    expect_other("acl", [](Entry& e) { e.details.access_acl.push_back({AclTag::user, 7, 5, "x"}); });
    expect_other("default acl", [](Entry& e) { e.details.default_acl.push_back({AclTag::user, 7, 5, "x"}); });
    expect_other("sparse", [](Entry& e) { e.details.sparse = !e.details.sparse; });
    if (entry.digest) expect_other("digest", [](Entry& e) { (*e.digest)[31] ^= 1; });
    if (entry.stat.type == FileType::symlink) expect_other("target", [](Entry& e) { e.details.link_target += "x"; });
    if (entry.stat.type == FileType::block_device) {
      expect_other("major", [](Entry& e) { e.stat.device_major ^= 1; });
      expect_other("minor", [](Entry& e) { e.stat.device_minor ^= 1; });
    }
    Entry again = entry;
    again.flags ^= racy;
    EXPECT_EQ(row_of(again), is) << entry.path;
  }
}

}  // namespace
}  // namespace syncropy

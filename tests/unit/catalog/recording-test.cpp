#include "catalog/recording.hpp"

#include <utility>

#include "catalog/interning.hpp"
#include "fixture.hpp"
#include "model/limits.hpp"

namespace syncropy::test {
namespace {

class RecordingTest : public CatalogTest {
 protected:
  // One dataset of "web1" with this entry; then what the query with `WHERE client = 'web1'` shows.
  std::string shown(const Entry& entry, const std::string& columns, const std::string& view = "files") {
    Catalog catalog(location);
    catalog.forget("web1");
    record(catalog, dataset_info("web1", 1), {}, {entry});
    return first_row(catalog,
                     "SELECT " + columns + " FROM " + view + " WHERE client = 'web1' AND dataset = 'hour/" + dataset_info("web1", 1).name + "'");
  }
};
CATALOG_TEST_EVERYWHERE(RecordingTest);

TEST_P(RecordingTest, shows_a_file_as_a_person_reads_it) {
  Entry entry = file("etc/passwd", "root:x:0:0");
  entry.stat.mode = 04755;
  EXPECT_EQ(shown(entry, "path, type_letter, mode_octal, owner_name, owner_number, group_name, group_number, size_bytes, mtime, mtime_ns, digest"),
            "/etc/passwd|-|4755|alice|1000|users|100|10|2023-11-14 22:13:20.1230|123456789|" + to_hex(digest_of("root:x:0:0")));
}

TEST_P(RecordingTest, shows_each_type) {
  for (FileType type : {FileType::folder, FileType::symlink, FileType::block_device, FileType::character_device, FileType::fifo, FileType::socket}) {
    Entry entry = file("thing");
    entry.stat.type = type;
    entry.stat.mode = 0;
    entry.digest.reset();
    entry.stat.device_major = 4'000'000'000;
    entry.stat.device_minor = 7;
    if (type == FileType::symlink) entry.details.link_target = "../target";
    const bool is_device = type == FileType::block_device || type == FileType::character_device;
    EXPECT_EQ(shown(entry, "type_letter, mode_octal, link_target, device_major, device_minor, digest"),
              std::string(1, letter_of(type)) + "|0000|" + (type == FileType::symlink ? "../target" : "") + (is_device ? "|4000000000|7|" : "|||"));
  }
}

TEST_P(RecordingTest, numbers_that_a_client_can_make_up_break_no_query) {
  Entry entry = file("a");
  entry.stat.mtime = {INT64_MIN, 0};
  entry.stat.ctime = {INT64_MAX, 999'999'999};
  entry.stat.uid = UINT32_MAX;
  entry.stat.size = static_cast<std::uint64_t>(INT64_MAX);
  entry.stat.inode = entry.stat.filesystem = UINT64_MAX;
  entry.stat.links = UINT32_MAX;
  EXPECT_EQ(shown(entry, "mtime, ctime, owner_number, size_bytes, inode, filesystem, links"), "||4294967295|9223372036854775807|-1|-1|4294967295");
  entry.stat.mtime = {253'402'300'799, 999'999'999};
  entry.stat.ctime = {-62'135'596'800, 0};
  EXPECT_EQ(shown(entry, "mtime, ctime"), "9999-12-31 23:59:59.9990|0001-01-01 00:00:00.0000");
}

TEST_P(RecordingTest, names_are_bytes) {
  Catalog catalog(location);
  std::string every_byte;
  for (int c = 1; c < 256; ++c)
    if (c != '/') every_byte += static_cast<char>(c);
  const std::vector<std::string> names{"a", "a ", "a  ", "a\t", " a", "a\n", "\xff\xfe", "\xc3\xa9", "e\xcc\x81", "'quoted'", "?", every_byte};
  std::vector<Entry> entries;
  for (const std::string& name : names) entries.push_back(file(name, name));
  record(catalog, dataset_info("web1", 1), {}, entries);
  record(catalog, dataset_info("web1", 2), {"a ", every_byte}, {});
  auto rows = catalog.query("SELECT path, digest FROM files WHERE client = 'web1' AND sequence_number = 1").rows;
  ASSERT_EQ(rows.size(), names.size());
  for (const auto& row : rows) EXPECT_EQ(row[1], to_hex(digest_of(row[0].substr(1)))) << row[0];
  rows = catalog.query("SELECT path FROM files WHERE client = 'web1' AND sequence_number = 2").rows;
  EXPECT_EQ(rows.size(), names.size() - 2);
  for (const auto& row : rows) EXPECT_NE(row[0], "/a ");
}

TEST_P(RecordingTest, paths_of_any_length_are_kept_whole_and_apart) {
  Catalog catalog(location);
  std::vector<Entry> entries;
  std::vector<std::string> paths;
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += std::string(255, static_cast<char>('a' + i % 26)) + "/";
  for (std::size_t length : {299UL, 300UL, 998UL, 999UL, 1000UL, 4096UL, 32'765UL, 51'000UL}) paths.push_back(deep.substr(0, length - 1) + "1");
  paths.push_back(deep.substr(0, 50'999) + "2");
  paths.push_back(std::string(limits::path_bytes, 'z'));
  for (const std::string& path : paths) entries.push_back(file(path, path));
  record(catalog, dataset_info("web1", 1), {}, entries);
  const auto rows = catalog.query("SELECT path, long_path, digest FROM files WHERE client = 'web1' AND sequence_number = 1").rows;
  ASSERT_EQ(rows.size(), paths.size());
  for (const auto& row : rows) EXPECT_EQ(row[2], to_hex(digest_of((row[1].empty() ? row[0] : row[1]).substr(1))));
  std::vector<std::string> ended(paths.begin(), paths.end() - 2);
  record(catalog, dataset_info("web1", 2), ended, {file(paths[7], "new")});
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM files WHERE client = 'web1' AND sequence_number = 2"), "3");
}

TEST_P(RecordingTest, link_targets_and_account_names_up_to_their_bounds) {
  Entry entry = file("link");
  entry.stat.type = FileType::symlink;
  entry.digest.reset();
  entry.details.link_target = std::string(limits::link_target_bytes, 't');
  entry.details.owner = std::string(limits::account_name_bytes, 'o');
  entry.details.group = "";
  EXPECT_EQ(shown(entry, "link_target, owner_name, group_name"), entry.details.link_target + "|" + entry.details.owner + "|");
}

TEST_P(RecordingTest, acls_are_rows_that_say_who_had_what) {
  Catalog catalog(location);
  Entry shared = file("secret");
  shared.details.access_acl = {{AclTag::user_owner, 6, 0, ""}, {AclTag::user, 5, 1001, "bob"}, {AclTag::group_owner, 4, 0, ""},
                               {AclTag::group, 7, 50, "staff"}, {AclTag::mask, 7, 0, ""}, {AclTag::other, 0, 0, ""}};
  Entry both = folder("shared");
  both.details.access_acl = both.details.default_acl = shared.details.access_acl;
  record(catalog, dataset_info("web1", 1), {}, {shared, both, file("plain")});
  const auto rows = catalog.query("SELECT path, acl_kind, permissions, account_number FROM acls WHERE client = 'web1' AND sequence_number = 1 AND "
                                  "tag = 'user' AND account_name = 'bob' ORDER BY 1, 2").rows;
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0], (std::vector<std::string>{"/secret", "access", "r-x", "1001"}));
  EXPECT_EQ(rows[2], (std::vector<std::string>{"/shared", "default", "r-x", "1001"}));
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM acl_entry"), "6");
  EXPECT_EQ(first_row(catalog, "SELECT LIST(tag || '=' || permissions) FROM acls WHERE client = 'web1' AND sequence_number = 1 AND path = '/secret'"),
            "owner=rw-,user=r-x,owning group=r--,group=rwx,mask=rwx,other=---");
}

TEST_P(RecordingTest, extended_attributes_of_any_size_and_capabilities) {
  Catalog catalog(location);
  std::string every_byte;
  for (int c = 0; c < 256; ++c) every_byte += static_cast<char>(c);
  Entry entry = file("ping");
  const std::string large = std::string(limits::xattr_value_bytes - 256, 'v') + every_byte;
  entry.details.xattrs = {{"security.capability", std::string("\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)},
                          {"user.binary", every_byte}, {"user.edge", std::string(2000, 'e')}, {"user.empty", ""}, {"user.large", large}};
  record(catalog, dataset_info("web1", 1), {}, {entry});
  EXPECT_EQ(first_row(catalog, "SELECT capabilities FROM files WHERE client = 'web1' AND sequence_number = 1"), "cap_net_raw=ep");
  const auto rows = catalog.query("SELECT name, value_text, long_value FROM xattrs WHERE client = 'web1' AND path = '/ping' ORDER BY name").rows;
  ASSERT_EQ(rows.size(), 5U);
  for (std::size_t i = 0; i < rows.size(); ++i)
    EXPECT_EQ(rows[i], (std::vector<std::string>{entry.details.xattrs[i].name, i == 4 ? "" : entry.details.xattrs[i].value, i == 4 ? large : ""}));
}

TEST_P(RecordingTest, sparse_files_with_many_extents_or_none) {
  Catalog catalog(location);
  Entry many = file("many"), hole = file("hole");
  many.details.sparse = hole.details.sparse = true;
  for (std::uint64_t i = 0; i < limits::extents; ++i) many.details.extents.push_back({i * 8192, 4096});
  record(catalog, dataset_info("web1", 1), {}, {many, hole, file("dense")});
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*), SUM(length_bytes), MAX(start_byte) FROM extent"), "16384|67108864|134209536");
  EXPECT_EQ(first_row(catalog, "SELECT LIST(path || sparse) FROM files WHERE client = 'web1' AND sequence_number = 1"), "/many1,/hole1,/dense0");
}

// A chown of everything costs rows; what did not change is found again and not written twice.
TEST_P(RecordingTest, repeated_attributes_are_stored_once_over_recordings) {
  Catalog catalog(location);
  for (std::uint64_t run = 1; run <= 3; ++run) {
    std::vector<Entry> entries;
    std::vector<std::string> ended;
    for (int i = 0; i < 400; ++i) {
      Entry entry = file("f" + std::to_string(i));
      entry.stat.uid = static_cast<std::uint32_t>(i % 150);
      entry.details.xattrs = {{"user.number", std::to_string(i % 130)}};
      ended.push_back(entry.path);
      entries.push_back(entry);
    }
    record(catalog, dataset_info("web1", run), ended, entries);
  }
  EXPECT_EQ(first_row(catalog, "SELECT (SELECT COUNT(*) FROM account), (SELECT COUNT(*) FROM attribute_set), (SELECT COUNT(*) FROM xattr), "
                               "(SELECT COUNT(*) FROM entry) FROM rdb$database"),
            "151|130|130|1200");
}

// What is forgotten for want of room is found again, the rows that were still to be sent included.
TEST_P(RecordingTest, more_attribute_sets_than_are_remembered) {
  struct Lower {
    std::size_t before = std::exchange(Interning::most_known, 90);
    ~Lower() { Interning::most_known = before; }
  } const lower;
  Catalog catalog(location);
  for (std::uint64_t run = 1; run <= 2; ++run) {
    std::vector<Entry> entries;
    std::vector<std::string> ended;
    for (int i = 0; i < 1'000; ++i) {
      // Each comes again soon, in the next 80 and later ones, and is new a hundred entries long.
      Entry entry = file("f" + std::to_string(i));
      entry.stat.uid = static_cast<std::uint32_t>(i * 7 % 130 + i / 3);
      entry.details.xattrs = {{"user.number", std::to_string(i / 2 % 300)}};
      ended.push_back(entry.path);
      entries.push_back(entry);
    }
    record(catalog, dataset_info("web1", run), ended, entries);
  }
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*), COUNT(DISTINCT digest) FROM attribute_set"), "300|300");
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) - COUNT(DISTINCT digest) FROM account"), "0");
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM xattr"), "300");
}

TEST_P(RecordingTest, flags_are_shown) {
  Entry entry = file("a");
  entry.flags = unstable | racy;
  EXPECT_EQ(shown(entry, "racy, unstable, unread"), "1|1|0");
  entry.flags = unread;
  entry.digest.reset();
  EXPECT_EQ(shown(entry, "racy, unstable, unread, digest"), "0|0|1|");
}

}  // namespace
}  // namespace syncropy::test

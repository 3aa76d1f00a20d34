#include "catalog/catalog.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "fixture.hpp"

namespace syncropy::test {
namespace {

CATALOG_TEST_EVERYWHERE(CatalogTest);

TEST_P(CatalogTest, gives_back_what_was_recorded_of_a_dataset) {
  Catalog catalog(location);
  DatasetInfo info = dataset_info("web1", 3, Tier::month);
  info.completeness = Completeness::partial;
  info.acl = false;
  record(catalog, dataset_info("web2", 1), {}, {});
  record(catalog, info, {}, {file("a")});
  Catalog reader = Catalog::open_existing(location);
  ASSERT_EQ(reader.datasets("web1").size(), 1U);
  EXPECT_EQ(reader.datasets("web1")[0].info, info);
  ASSERT_EQ(reader.datasets().size(), 2U);
  EXPECT_EQ(reader.datasets()[1].info.client, "web2");
  EXPECT_TRUE(reader.datasets("web3").empty());
  EXPECT_TRUE(reader.datasets("no client's name").empty());
}

TEST_P(CatalogTest, dataset_shows_the_versions_that_cover_it) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 1), {}, {folder(""), file("a"), file("b"), file("c")});
  record(catalog, dataset_info("web1", 2), {"b", "c"}, {file("b", "changed"), file("d")});
  record(catalog, dataset_info("web1", 5), {"b", "never there"}, {});
  EXPECT_EQ(paths_of(catalog, "web1", 1), "/ /a /b /c");
  EXPECT_EQ(paths_of(catalog, "web1", 2), "/ /a /b /d");
  EXPECT_EQ(paths_of(catalog, "web1", 5), "/ /a /d");
  EXPECT_EQ(first_row(catalog, "SELECT digest FROM files WHERE client = 'web1' AND sequence_number = 2 AND path = '/b'"),
            to_hex(digest_of("changed")));
  const auto history =
      catalog.query("SELECT first_sequence, last_sequence, last_dataset FROM file_history WHERE client = 'web1' AND path = '/b' ORDER BY 1");
  ASSERT_EQ(history.rows.size(), 2U);
  EXPECT_EQ(history.rows[0], (std::vector<std::string>{"1", "1", "hour/" + dataset_info("web1", 1).name}));
  EXPECT_EQ(history.rows[1], (std::vector<std::string>{"2", "2", "hour/" + dataset_info("web1", 2).name}));
}

// The version that begins is sent before or after the one that ends: paths differ in length, so they travel in different batches.
TEST_P(CatalogTest, order_of_ending_and_beginning_does_not_matter) {
  Catalog catalog(location);
  const std::string long_path(250, 'x'), path = long_path + "/" + long_path;
  record(catalog, dataset_info("web1", 1), {}, {file("a"), file(path)});
  Catalog::Recording recording = catalog.record("web1", 2, 1);
  recording.begin_version(file("a", "new"));
  recording.begin_version(file(path, "new"));
  for (int i = 0; i < 500; ++i) recording.begin_version(file("b" + std::to_string(i)));
  recording.end_version("a");
  recording.end_version(path);
  recording.commit(dataset_info("web1", 2));
  EXPECT_EQ(
      first_row(catalog,
                "SELECT COUNT(*), COUNT(DISTINCT digest) FROM files WHERE client = 'web1' AND sequence_number = 2 AND (path = '/a' OR path = '/" +
                    path + "')"),
      "2|1");
}

TEST_P(CatalogTest, recording_that_is_not_committed_leaves_nothing) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 1), {}, {file("a")});
  {
    Catalog::Recording recording = catalog.record("web1", 2, 1);
    recording.end_version("a");
    for (int i = 0; i < 1000; ++i) recording.begin_version(file("b" + std::to_string(i)));
  }
  EXPECT_EQ(catalog.datasets("web1").size(), 1U);
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*), MIN(to_sequence) FROM entry"), "1|9223372036854775807");
  record(catalog, dataset_info("web1", 2), {}, {file("b")});
  EXPECT_EQ(paths_of(catalog, "web1", 2), "/a /b");
}

TEST_P(CatalogTest, run_without_changes_writes_the_row_of_the_dataset_and_nothing_else) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 1), {}, {file("a"), file("b")});
  auto rows = [&] {
    return first_row(catalog, "SELECT (SELECT COUNT(*) FROM entry), (SELECT COUNT(*) FROM account), (SELECT COUNT(*) FROM attribute_set), "
                              "(SELECT MAX(last_account) FROM client), (SELECT COUNT(*) FROM client) FROM rdb$database");
  };
  const std::string before = rows();
  record(catalog, dataset_info("web1", 2), {}, {});
  EXPECT_EQ(rows(), before);
  EXPECT_EQ(paths_of(catalog, "web1", 2), "/a /b");
}

TEST_P(CatalogTest, sequence_must_grow_and_one_recording_at_a_time) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 5), {}, {});
  EXPECT_THROW(static_cast<void>(catalog.record("web1", 5, 5)), Error);
  EXPECT_THROW(static_cast<void>(catalog.record("web1", 4, 5)), Error);
  EXPECT_THROW(static_cast<void>(catalog.record("web1", 0, 5)), Error);
  EXPECT_THROW(static_cast<void>(catalog.record("../web1", 6, 5)), Error);
  Catalog::Recording recording = catalog.record("web1", 6, 5);
  EXPECT_THROW(static_cast<void>(catalog.record("web2", 1, 0)), Error);
  EXPECT_THROW(recording.commit(dataset_info("web1", 7)), Error);
}

TEST_P(CatalogTest, expiring_deletes_what_no_remaining_dataset_shows) {
  Catalog catalog(location);
  record(catalog, dataset_info("other", 1), {}, {file("x")});
  record(catalog, dataset_info("web1", 1), {}, {file("always"), file("first")});
  record(catalog, dataset_info("web1", 3), {"first"}, {file("second"), file("second-on")});
  record(catalog, dataset_info("web1", 4), {"second"}, {file("third-on")});
  auto versions = [&] { return first_row(catalog, "SELECT COUNT(*) FROM entry"); };
  EXPECT_EQ(versions(), "6");
  expire(catalog, "web1", 2);  // never was
  expire(catalog, "web1", 3);
  EXPECT_EQ(versions(), "5");
  EXPECT_EQ(paths_of(catalog, "web1", 1), "/always /first");
  EXPECT_EQ(paths_of(catalog, "web1", 4), "/always /second-on /third-on");
  expire(catalog, "web1", 3);
  expire(catalog, "web1", 1);
  EXPECT_EQ(versions(), "4");
  EXPECT_EQ(paths_of(catalog, "web1", 4), "/always /second-on /third-on");
  EXPECT_EQ(catalog.datasets("web1").size(), 1U);
  expire(catalog, "web1", 4);
  EXPECT_EQ(versions(), "1");
  EXPECT_EQ(paths_of(catalog, "other", 1), "/x");
  expire(catalog, "nobody", 1);
}

// A filesystem that was not mounted for one dataset: once that has expired, nobody can tell, whether the catalog is this one or made again.
TEST_P(CatalogTest, expiring_joins_what_only_the_expired_dataset_set_apart) {
  Catalog catalog(location);
  auto with_all = [](const std::string& path, std::uint8_t flags) {
    Entry entry = file(path);
    entry.flags = flags;
    entry.details.access_acl = {{AclTag::user_owner, 6, 0, ""}, {AclTag::user, 5, 1001, "bob"}};
    entry.details.xattrs = {{"user.mark", "x"}};
    return entry;
  };
  Entry device = folder("device"), link = folder("link");
  device.stat.type = FileType::block_device;
  device.stat.device_major = 7;
  link.stat.type = FileType::symlink;
  link.details.link_target = "there";
  Entry touched = file("touched");
  const std::string long_path = std::string(600, 'x') + "/" + std::string(600, 'y');
  const std::vector<Entry> all{folder("folder"), file("file"), with_all("all", racy), device, link, file(long_path), touched};
  std::vector<std::string> paths;
  for (const Entry& entry : all) paths.push_back(entry.path);
  record(catalog, dataset_info("web1", 1), {}, all);
  record(catalog, dataset_info("web1", 2), paths, {file("file", "another")});
  touched.stat.ctime.nanoseconds += 1;
  record(catalog, dataset_info("web1", 3), {"file"}, {folder("folder"), file("file"), with_all("all", 0), device, link, file(long_path), touched});
  record(catalog, dataset_info("web1", 4), {"link"}, {});
  auto history = [&] {
    std::string text;
    for (const auto& row : catalog.query("SELECT path, first_sequence, last_sequence FROM file_history WHERE client = 'web1' ORDER BY path, 2").rows)
      text += row[0].substr(0, 10) + " " + row[1] + "-" + row[2] + "  ";
    return text;
  };
  expire(catalog, "web1", 2);
  EXPECT_EQ(history(), "/all 1-  /device 1-  /file 1-  /folder 1-  /link 1-3  /touched 1-1  /touched 3-  /xxxxxxxxx 1-  ");
  EXPECT_EQ(paths_of(catalog, "web1", 1), paths_of(catalog, "web1", 3));
  // What goes on is what ends.
  record(catalog, dataset_info("web1", 5), {"all", "file"}, {});
  EXPECT_EQ(paths_of(catalog, "web1", 5).substr(0, 18), "/device /folder /t");
  expire(catalog, "web1", 1);
  EXPECT_EQ(history(), "/all 3-4  /device 3-  /file 3-4  /folder 3-  /link 3-3  /touched 3-  /xxxxxxxxx 3-  ");
}

// The next recording says what changed since the dataset before the one that went.
TEST_P(CatalogTest, expiring_deletes_the_attributes_that_no_entry_has_any_more) {
  Catalog catalog(location);
  auto with_all = [](const std::string& path, const std::string& mark) {
    Entry entry = file(path);
    entry.details.access_acl = {{AclTag::user_owner, 6, 0, ""}, {AclTag::user, 5, 1001, "bob" + mark}};
    entry.details.default_acl = {{AclTag::user_owner, 7, 0, ""}, {AclTag::user, 5, 1001, "bob" + mark}};
    entry.details.xattrs = {{"user.mark", mark}, {"user.long", std::string(5'000, mark[0])}};
    entry.details.sparse = true;
    entry.details.extents = {{mark.size() * 4096, 4096}};
    return entry;
  };
  auto link = [](const std::string& path, const std::string& target) {
    Entry entry = file(path);
    entry.stat.type = FileType::symlink;
    entry.digest.reset();
    entry.details.link_target = target;
    return entry;
  };
  auto counts = [&] {
    return first_row(catalog, "SELECT (SELECT COUNT(*) FROM attribute_set), (SELECT COUNT(*) FROM acl_entry), (SELECT COUNT(*) FROM xattr), "
                              "(SELECT COUNT(*) FROM extent), (SELECT COUNT(*) FROM link_target) FROM rdb$database");
  };
  record(catalog, dataset_info("other", 1), {}, {with_all("a", "x"), link("l", "there")});
  record(catalog, dataset_info("web1", 1), {}, {with_all("a", "x"), with_all("b", "yy"), link("l", "there"), link("m", "once")});
  EXPECT_EQ(counts(), "15|12|6|3|3");
  // What "a" had "c" has too; what "b" and "m" had nobody has; "l" says something else and then the same again.
  record(catalog, dataset_info("web1", 2), {"a", "b", "l", "m"}, {with_all("c", "x"), link("l", "elsewhere")});
  record(catalog, dataset_info("web1", 3), {"l"}, {link("l", "there")});
  expire(catalog, "web1", 1);
  EXPECT_EQ(counts(), "11|8|4|2|3");
  expire(catalog, "web1", 2);
  EXPECT_EQ(counts(), "10|8|4|2|2");
  // The newest goes: "c" alone is of web1.
  record(catalog, dataset_info("web1", 4), {"l"}, {link("l", "new"), with_all("d", "zzz")});
  EXPECT_EQ(counts(), "15|12|6|3|3");
  expire(catalog, "web1", 4);
  EXPECT_EQ(counts(), "10|8|4|2|2");
  expire(catalog, "web1", 3);
  EXPECT_EQ(counts(), "5|4|2|1|1");
  // A number is not given again for what was deleted.
  record(catalog, dataset_info("web1", 5), {}, {with_all("a", "yy")});
  EXPECT_EQ(counts(), "9|8|4|2|1");
  EXPECT_EQ(first_row(catalog, "SELECT target FROM link_target"), "there");
}
TEST_P(CatalogTest, expiring_the_newest_makes_valid_again_what_it_ended) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 1), {}, {file("a"), file("b"), file("gone")});
  record(catalog, dataset_info("web1", 2), {"gone"}, {});
  record(catalog, dataset_info("web1", 3), {"a"}, {file("a", "new"), file("c")});
  expire(catalog, "web1", 3);
  record(catalog, dataset_info("web1", 4), {"b"}, {});
  EXPECT_EQ(paths_of(catalog, "web1", 2), "/a /b");
  EXPECT_EQ(paths_of(catalog, "web1", 4), "/a");
  EXPECT_EQ(first_row(catalog, "SELECT digest FROM files WHERE sequence_number = 4 AND client = 'web1'"), to_hex(digest_of("content")));
}

TEST_P(CatalogTest, what_is_removed_shows_nowhere_and_is_deleted_later) {
  Catalog catalog(location);
  auto versions = [&] { return first_row(catalog, "SELECT COUNT(*) FROM entry"); };
  auto history = [&] {
    std::string text;
    for (const auto& row : catalog.query("SELECT path, first_sequence, last_sequence FROM file_history WHERE client = 'web1' ORDER BY path, 2").rows)
      text += row[0] + " " + row[1] + "-" + row[2] + "  ";
    return text;
  };
  record(catalog, dataset_info("web1", 1), {}, {file("always"), file("first"), file("away")});
  record(catalog, dataset_info("web1", 2), {"first", "away"}, {file("second")});
  record(catalog, dataset_info("web1", 3), {"second"}, {file("third")});
  record(catalog, dataset_info("web1", 4), {"third"}, {file("fourth"), file("away")});
  record(catalog, dataset_info("web1", 5), {}, {file("fifth")});
  EXPECT_EQ(versions(), "8");
  for (std::uint64_t gone : {2, 3, 5}) catalog.remove("web1", gone);
  catalog.remove("web1", 3);  // gone already
  catalog.remove("nobody", 3);
  const std::string shown = "/always 1-  /away 1-1  /away 4-  /first 1-1  /fourth 4-  ";
  EXPECT_EQ(versions(), "8");
  EXPECT_EQ(history(), shown);
  EXPECT_EQ(catalog.datasets("web1").size(), 2U);
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM datasets"), "2");
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM files"), "6");
  EXPECT_EQ(paths_of(catalog, "web1", 3), "");
  // The newest is gone: what it ended and began is put right before the next is recorded, and all else with it.
  record(catalog, dataset_info("web1", 6), {"fourth"}, {});
  EXPECT_EQ(versions(), "4");
  EXPECT_EQ(history(), "/always 1-  /away 1-  /first 1-1  /fourth 4-4  ");
  EXPECT_EQ(paths_of(catalog, "web1", 6), "/always /away");
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM removed_dataset"), "0");
  catalog.remove("web1", 4);
  EXPECT_EQ(versions(), "4");
  catalog.trim("web1");
  catalog.trim("web1");
  catalog.trim("nobody");
  EXPECT_EQ(versions(), "3");
  // All of them.
  for (std::uint64_t gone : {1, 6}) catalog.remove("web1", gone);
  EXPECT_EQ(history(), "");
  catalog.trim("web1");
  EXPECT_EQ(versions(), "0");
}

TEST_P(CatalogTest, forgetting_a_client_leaves_the_others_and_lets_it_come_back) {
  Catalog catalog(location);
  Entry entry = file("a");
  entry.details.xattrs = {{"user.comment", "x"}};
  record(catalog, dataset_info("web1", 7), {}, {entry});
  record(catalog, dataset_info("web2", 1), {}, {entry});
  catalog.forget("web1");
  catalog.forget("web1");
  EXPECT_TRUE(catalog.datasets("web1").empty());
  for (const char* table : {"client", "dataset", "entry", "attribute_set", "xattr"})
    EXPECT_EQ(first_row(catalog, std::string("SELECT COUNT(*) FROM ") + table), "1") << table;
  record(catalog, dataset_info("web1", 1), {}, {entry});
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM xattrs WHERE client = 'web1' AND path = '/a'"), "1");
}

TEST_P(CatalogTest, reader_lists_while_a_recording_is_open) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 1), {}, {file("a")});
  Catalog::Recording recording = catalog.record("web1", 2, 1);
  recording.end_version("a");
  for (int i = 0; i < 5'000; ++i) recording.begin_version(file("b" + std::to_string(i)));
  Catalog reader = Catalog::open_existing(location);
  EXPECT_EQ(reader.datasets().size(), 1U);
  EXPECT_EQ(paths_of(reader, "web1", 1), "/a");
  recording.commit(dataset_info("web1", 2));
  EXPECT_EQ(reader.datasets().size(), 2U);
  EXPECT_EQ(first_row(reader, "SELECT COUNT(*) FROM files WHERE client = 'web1' AND sequence_number = 2"), "5000");
}

// From the making of the catalog on.
TEST_P(CatalogTest, clients_record_side_by_side) {
  constexpr int clients = 4, runs = 5;
  std::vector<std::string> failures(clients);
  std::vector<std::thread> threads;
  for (int client = 0; client < clients; ++client) {
    threads.emplace_back([&, client] {
      try {
        Catalog catalog(location);
        const std::string name = "client" + std::to_string(client);
        for (std::uint64_t run = 1; run <= runs; ++run) {
          std::vector<Entry> entries;
          for (int i = 0; i < 300; ++i) {
            Entry entry = file("run" + std::to_string(run) + "/" + std::to_string(i));
            entry.stat.uid = static_cast<std::uint32_t>(i % 50);  // the same accounts and ACLs everywhere
            entry.details.access_acl = {{AclTag::user, 6, static_cast<std::uint32_t>(i % 20), "user" + std::to_string(i % 20)}};
            entries.push_back(entry);
          }
          record(catalog, dataset_info(name, run), {"run" + std::to_string(run - 1) + "/0"}, entries);
        }
        expire(catalog, name, 1);
      } catch (const Error& error) {
        failures[static_cast<std::size_t>(client)] = error.line();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) EXPECT_EQ(failure, "");
  Catalog catalog(location);
  EXPECT_EQ(catalog.datasets().size(), std::size_t{clients * (runs - 1)});
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM files WHERE client = 'client3' AND sequence_number = 5"), std::to_string(300 * runs - 4));
}

TEST_P(CatalogTest, queries_change_nothing) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 1), {}, {file("a")});
  EXPECT_THROW(static_cast<void>(catalog.query("DELETE FROM entry")), Error);
  EXPECT_THROW(static_cast<void>(catalog.query("SELECT nonsense FROM entry")), Error);
  EXPECT_EQ(catalog.query("SELECT path, NULL AS nothing FROM entry").columns, (std::vector<std::string>{"PATH", "NOTHING"}));
  EXPECT_EQ(first_row(catalog, "SELECT path, NULL, CAST(1.5 AS NUMERIC(9,2)) FROM entry"), "/a||1.50");
}

TEST_P(CatalogTest, who_does_not_answer_is_named) {
  if (GetParam() == Where::networked) {
    CatalogLocation away = location;
    away.port = 1;
    expect_error(ExitStatus::unavailable, "does not answer", [&] { Catalog catalog(away); });
    CatalogLocation wrong = location;
    wrong.password = "wrong";
    expect_error(ExitStatus::unavailable, "user name or password", [&] { Catalog catalog(wrong); });
    expect_error(ExitStatus::unavailable, "user name or password", [&] { Catalog::open_existing(wrong); });
  } else {
    CatalogLocation nowhere = location;
    nowhere.database = run_folder() + "/missing/catalog.fdb";
    expect_error(ExitStatus::no_input, "missing", [&] { Catalog catalog(nowhere); });
  }
}

// The engine takes errno for the end of its own calls: with this one it spun for ever.
TEST_P(CatalogTest, interruption_of_an_earlier_call_is_no_affair_of_the_engine) {
  errno = EINTR;
  Catalog catalog(location);
  errno = EINTR;
  EXPECT_TRUE(catalog.datasets().empty());
  errno = EINTR;
}

// A database server goes on for a while with what a killed program asked of it.
TEST_P(CatalogTest, a_difference_is_one_to_what_is_there_when_it_is_recorded) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 1), {}, {file("a")});
  record(catalog, dataset_info("web1", 2), {}, {file("b")});
  expect_error(ExitStatus::unavailable, "has changed meanwhile", [&] { static_cast<void>(catalog.record("web1", 3, 1)); });
  expect_error(ExitStatus::unavailable, "has changed meanwhile", [&] { static_cast<void>(catalog.record("web1", 3, 0)); });
  catalog.forget("web1");
  expect_error(ExitStatus::unavailable, "has changed meanwhile", [&] { static_cast<void>(catalog.record("web1", 3, 2)); });
  record(catalog, dataset_info("web1", 3), {}, {file("c")});
  EXPECT_EQ(paths_of(catalog, "web1", 3), "/c");
}

// What is under way elsewhere is waited for, and if it becomes true, nothing is recorded on top of what it removed.
TEST_P(CatalogTest, a_recording_waits_for_who_forgets_the_client) {
  Catalog catalog(location);
  record(catalog, dataset_info("web1", 1), {}, {file("a")});
  firebird::Attachment other = firebird::Attachment::attach(raw_access(location));
  firebird::Transaction forgetting(other, firebird::Isolation::write);
  forgetting.execute("UPDATE client SET last_set = last_set WHERE name = 'web1'");
  forgetting.execute("DELETE FROM dataset");
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    forgetting.commit();
  });
  expect_error(ExitStatus::busy, "changes the same rows", [&] { static_cast<void>(catalog.record("web1", 2, 1)); });
  ends.join();
}

// What an administrator does with a hanging connection, and what a dying server looks like.
TEST_P(CatalogTest, lost_connection_is_an_error_and_nothing_is_half_recorded) {
  Catalog catalog(location);
  {
    Catalog::Recording recording = catalog.record("web1", 1, 0);
    for (int i = 0; i < 1'000; ++i) recording.begin_version(file("a" + std::to_string(i)));
    const std::string id = first_row(catalog, "SELECT CURRENT_CONNECTION FROM rdb$database");
    firebird::Attachment other = firebird::Attachment::attach(raw_access(location));
    firebird::Transaction transaction(other, firebird::Isolation::write);
    transaction.execute("DELETE FROM mon$attachments WHERE mon$attachment_id = " + id);
    transaction.commit();
    expect_error(ExitStatus::unavailable, "connection", [&] {
      for (int i = 0; i < 100'000; ++i) recording.begin_version(file("b" + std::to_string(i)));
    });
    EXPECT_THROW(recording.commit(dataset_info("web1", 1)), Error);
  }
  Catalog again(location);
  EXPECT_TRUE(again.datasets().empty());
  EXPECT_EQ(first_row(again, "SELECT COUNT(*) FROM entry"), "0");
}

}  // namespace
}  // namespace syncropy::test

#include "catalog/schema.hpp"

#include <fcntl.h>

#include <fstream>
#include <thread>

#include "fixture.hpp"
#include "util/file.hpp"

namespace syncropy::test {
namespace {

class SchemaTest : public CatalogTest {
 protected:
  void run(const std::string& sql) {
    firebird::Attachment attachment = firebird::Attachment::attach(raw_access(location));
    firebird::Transaction transaction(attachment, firebird::Isolation::write);
    transaction.execute(sql);
    transaction.commit();
  }
};
CATALOG_TEST_EVERYWHERE(SchemaTest);

TEST_P(SchemaTest, is_made_where_there_is_none_and_kept_where_there_is) {
  { Catalog made(location); }
  Catalog kept(location);
  EXPECT_TRUE(kept.datasets().empty());
  EXPECT_EQ(first_row(kept, "SELECT version FROM syncropy_schema"), std::to_string(Catalog::schema_version));
}

// A database administrator may have made the database: the user of a backup server need not be allowed to.
TEST_P(SchemaTest, is_made_in_an_empty_database) {
  { firebird::Attachment made = firebird::Attachment::create(raw_access(location)); }
  expect_error(ExitStatus::no_input, "no catalog yet", [&] { Catalog::open_existing(location); });
  Catalog catalog(location);
  EXPECT_TRUE(catalog.datasets().empty());
}

// Who opens it while another makes it gets one that is whole.
TEST_P(SchemaTest, is_made_once_by_many_at_a_time) {
  std::vector<std::string> failures(4);
  std::vector<std::thread> threads;
  for (std::string& failure : failures)
    threads.emplace_back([&] {
      try {
        Catalog catalog(location);
        catalog.remove("nobody", 1);
        if (first_row(catalog, "SELECT COUNT(*) FROM removed_dataset") != "0") failure = "rows";
      } catch (const Error& error) {
        failure = error.line();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) EXPECT_EQ(failure, "");
}

TEST_P(SchemaTest, older_one_is_brought_up_to_date_and_what_it_holds_stays) {
  for (int version = 1; version < Catalog::schema_version; ++version) {
    {
      firebird::Attachment made = firebird::Attachment::create(raw_access(location));
      upgrade_schema(made, version);
    }
    run("INSERT INTO client (id, name) VALUES (7, 'kept')");
    expect_error(ExitStatus::no_input, "older version", [&] { Catalog::open_existing(location); });
    {
      Catalog catalog(location);
      EXPECT_EQ(first_row(catalog, "SELECT version FROM syncropy_schema"), std::to_string(Catalog::schema_version));
      EXPECT_EQ(first_row(catalog, "SELECT id, name FROM client"), "7|kept");
      for (std::uint64_t sequence : {1, 2}) record(catalog, dataset_info("kept", sequence), {"a"}, {file("a", std::to_string(sequence))});
      catalog.remove("kept", 1);
      EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM file_history"), "1");
      catalog.trim("kept");
      EXPECT_EQ(paths_of(catalog, "kept", 2), "/a");
    }
    drop(location);
  }
}

TEST_P(SchemaTest, newer_one_is_refused_with_both_versions) {
  { Catalog made(location); }
  run("CREATE OR ALTER VIEW syncropy_schema (version) AS SELECT 99 FROM rdb$database");
  const std::string line = expect_error(ExitStatus::data, "schema version 99", [&] { Catalog catalog(location); });
  EXPECT_NE(line.find("up to " + std::to_string(Catalog::schema_version)), std::string::npos) << line;
  expect_error(ExitStatus::data, "schema version 99", [&] { Catalog::open_existing(location); });
}

TEST_P(SchemaTest, database_of_somebody_else_is_refused_and_not_touched) {
  { firebird::Attachment made = firebird::Attachment::create(raw_access(location)); }
  run("CREATE TABLE customers (id INTEGER)");
  expect_error(ExitStatus::data, "no catalog of syncropy", [&] { Catalog catalog(location); });
  firebird::Attachment attachment = firebird::Attachment::attach(raw_access(location));
  firebird::Transaction transaction(attachment, firebird::Isolation::read);
  firebird::Statement count(transaction, "SELECT COUNT(*) FROM rdb$relations WHERE rdb$system_flag = 0");
  count.open(transaction);
  ASSERT_TRUE(count.fetch());
  EXPECT_EQ(count.integer(0), 1);
}

TEST_P(SchemaTest, listing_what_does_not_exist_says_so_and_makes_nothing) {
  expect_error(ExitStatus::no_input, location.database, [&] { Catalog::open_existing(location); });
  expect_error(ExitStatus::no_input, location.database, [&] { Catalog::open_existing(location); });
}

TEST_P(SchemaTest, every_view_is_explained) {
  Catalog catalog(location);
  EXPECT_EQ(first_row(catalog, "SELECT LIST(rdb$relation_name) FROM rdb$relations WHERE rdb$system_flag = 0 AND rdb$description IS NULL AND "
                               "rdb$relation_name <> 'SYNCROPY_SCHEMA'"),
            "");
}

class FileTest : public CatalogTest {};

// tests/fault/kills.py kills upgrades; here is what the next program makes of it.
TEST_P(FileTest, whose_upgrade_did_not_end_is_made_anew) {
  {
    firebird::Attachment made = firebird::Attachment::create(raw_access(location));
    upgrade_schema(made, 1);
  }
  std::ofstream(location.database + ".unsynced") << "upgrading\n";
  expect_error(ExitStatus::no_input, "is not believed", [&] { Catalog::open_existing(location); });
  {
    Catalog catalog(location);
    EXPECT_TRUE(catalog.was_unsafe());
    EXPECT_EQ(first_row(catalog, "SELECT version FROM syncropy_schema"), std::to_string(Catalog::schema_version));
  }
  EXPECT_EQ(read_file(AT_FDCWD, location.database + ".unsynced", 100, ExitStatus::data), "");
  EXPECT_FALSE(Catalog(location).was_unsafe());
}
INSTANTIATE_TEST_SUITE_P(Embedded, FileTest, ::testing::Values(Where::embedded), name_of_place);

TEST_P(FileTest, that_is_no_database_is_refused_and_kept) {
  std::ofstream(location.database) << std::string(100'000, 'x');
  expect_error(ExitStatus::data, "not a Firebird 3 database", [&] { Catalog catalog(location); });
  expect_error(ExitStatus::data, "not a Firebird 3 database", [&] { Catalog::open_existing(location); });
  EXPECT_EQ(read_file(AT_FDCWD, location.database, 100'000, ExitStatus::data), std::string(100'000, 'x'));
}

}  // namespace
}  // namespace syncropy::test

#pragma once
// A catalog of its own for each test, embedded and on the networked server that tests/support/firebird-server has started.

#include <gtest/gtest.h>

#include <string>

#include "catalog/catalog.hpp"
#include "catalog/firebird.hpp"

namespace syncropy::test {

enum class Where { embedded, networked };

// The folder of this run's embedded databases and of the engine, made by main() and removed when it ends.
const std::string& run_folder();
void set_run_folder(std::string folder);

// A place nothing has been made at yet.
CatalogLocation fresh_location(Where where);
// Removes a database that fresh_location() has named, if it was made.
void drop(const CatalogLocation& location);

// Access for the tests that go beneath Catalog.
firebird::Access raw_access(const CatalogLocation& location);

class CatalogTest : public ::testing::TestWithParam<Where> {
 protected:
  CatalogLocation location = fresh_location(GetParam());
  ~CatalogTest() override { drop(location); }
};

std::vector<Where> all_places();
std::string name_of_place(const ::testing::TestParamInfo<Where>& info);
#define CATALOG_TEST_EVERYWHERE(fixture) INSTANTIATE_TEST_SUITE_P(Everywhere, fixture, ::testing::ValuesIn(all_places()), name_of_place)

DatasetInfo dataset_info(const std::string& client, std::uint64_t sequence, Tier tier = Tier::hour);
Entry file(const std::string& path, const std::string& content = "content");
Entry folder(const std::string& path);

// Records a dataset that ends and begins these.
void record(Catalog& catalog, const DatasetInfo& info, const std::vector<std::string>& ended, const std::vector<Entry>& begun);
// As a run does it with one that retention let go.
void expire(Catalog& catalog, const std::string& client, std::uint64_t sequence);
// The first row as "a|b|c", "" where there is none.
std::string first_row(Catalog& catalog, const std::string& sql);
// The paths of a dataset, sorted, separated by blanks.
std::string paths_of(Catalog& catalog, const std::string& client, std::uint64_t sequence);

// Expects `call` to throw an Error with this status, a text that holds `text`, and a remedy; returns its line.
template <typename Call>
std::string expect_error(ExitStatus status, const std::string& text, Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.line();
    EXPECT_NE(error.line().find(text), std::string::npos) << error.line();
    EXPECT_FALSE(error.remedy().empty()) << error.line();
    EXPECT_EQ(error.line().find('\n'), std::string::npos) << error.line();
    return error.line();
  }
  ADD_FAILURE() << "no error with \"" << text << "\"";
  return {};
}

}  // namespace syncropy::test

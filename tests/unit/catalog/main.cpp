// Runs the tests; and is the second process of those that need one:
//   catalog-test --record ENGINE_FOLDER DATABASE CLIENT ENTRIES     records one dataset
//   catalog-test --hold ENGINE_FOLDER DATABASE                      opens the catalog, says so with a byte, holds it until its input ends
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>

#include "fixture.hpp"
#include "util/file.hpp"

namespace {

int second_process(char** arguments) {
  syncropy::CatalogLocation location;
  location.engine_folder = arguments[2];
  location.database = arguments[3];
  try {
    syncropy::Catalog catalog(location);
    if (std::strcmp(arguments[1], "--hold") == 0) {
      char byte = '.';
      if (::write(STDOUT_FILENO, &byte, 1) != 1) return 1;
      while (::read(STDIN_FILENO, &byte, 1) > 0) {}
      return 0;
    }
    std::vector<syncropy::Entry> entries;
    for (int i = 0; i < std::atoi(arguments[5]); ++i) entries.push_back(syncropy::test::file("file-" + std::to_string(i)));
    syncropy::test::record(catalog, syncropy::test::dataset_info(arguments[4], 1), {}, entries);
    return 0;
  } catch (const syncropy::Error& error) {
    std::cerr << error.line() << '\n';
    return static_cast<int>(error.status());
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 6 && std::strcmp(arguments[1], "--record") == 0) return second_process(arguments);
  if (count == 4 && std::strcmp(arguments[1], "--hold") == 0) return second_process(arguments);
  ::testing::InitGoogleTest(&count, arguments);
  if (std::getenv("FIREBIRD_TEST_HOST") == nullptr) {
    const char* embedded_only = std::getenv("SYNCROPY_TEST_EMBEDDED_ONLY");
    if (embedded_only == nullptr || std::strcmp(embedded_only, "1") != 0) {
      std::cerr << "catalog-test: FIREBIRD_TEST_HOST is not set: run it through tests/support/firebird-server\n";
      return 1;
    }
    std::cerr << "catalog-test: SYNCROPY_TEST_EMBEDDED_ONLY=1: THE NETWORKED CATALOG IS NOT TESTED\n";
  }
  const char* temporary = std::getenv("TMPDIR");
  std::string folder = std::string(temporary == nullptr ? "/tmp" : temporary) + "/catalog-test.XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) {
    std::cerr << "catalog-test: cannot make " << folder << '\n';
    return 1;
  }
  syncropy::test::set_run_folder(folder);
  // The embedded engine's folder counts only when it is set before the client library is used at all.
  static_cast<void>(syncropy::test::raw_access(syncropy::test::fresh_location(syncropy::test::Where::embedded)));
  const int status = RUN_ALL_TESTS();
  syncropy::remove_tree(AT_FDCWD, folder);
  return status;
}

#pragma once
// Reading a catalog to find out whether it is in order. Whatever Firebird fails of while it does so is an Error too, of ExitStatus::data unless
// the way to the database or its disk is to blame; a damaged database may even make the embedded engine crash, or never return: so this
// belongs into a process of its own (server/catalog-check.hpp).

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/catalog.hpp"
#include "catalog/fingerprint.hpp"

namespace syncropy {

class CatalogCheck {
 public:
  struct Events {
    std::function<void(const std::string& why)> on_damage;
    std::function<void(std::uint64_t rows)> on_rows;  // progress: so many more were looked at
  };
  // Attaches to what exists, as Catalog::open_existing() does.
  CatalogCheck(const CatalogLocation& location, Events events);
  ~CatalogCheck();

  // What is read from now on is that of this moment.
  void begin();
  [[nodiscard]] std::vector<RecordedDataset> datasets(std::string_view client);
  // What the rows of the client show of the datasets with these sequences, in ascending order. What rows share is held against the digest
  // that stands beside it. Takes 40 bytes for each set of attributes and each different link target.
  [[nodiscard]] Fingerprint read(std::string_view client, const std::vector<std::uint64_t>& sequences);
  // Each row is found by each index that should lead to it, and each view answers.
  void check_indexes();
  // Tables, columns, views and indexes are defined as in a new catalog, which is made for that beside the engine's files. Embedded only.
  void check_definitions();
  // The pages of the database: all of them where nobody else has it open, which keeps it closed for others meanwhile; else those of tables and
  // indexes. Closes this one's own connection: nothing else can be asked afterwards.
  void check_pages();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncropy

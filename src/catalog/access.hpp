#pragma once
// Where a catalog is, as Firebird is told.

#include "catalog/catalog.hpp"
#include "catalog/firebird.hpp"

namespace syncropy {

[[nodiscard]] firebird::Access catalog_access(const CatalogLocation& location);

// As of Catalog::datasets().
[[nodiscard]] std::vector<RecordedDataset> datasets_in(firebird::Transaction& transaction, std::string_view client);

}  // namespace syncropy

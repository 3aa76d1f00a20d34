#pragma once
// Where a catalog is, as Firebird is told.

#include "catalog/catalog.hpp"
#include "catalog/firebird.hpp"

namespace syncropy {

[[nodiscard]] firebird::Access catalog_access(const CatalogLocation& location);

}  // namespace syncropy

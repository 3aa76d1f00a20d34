#pragma once
// The catalog brought in line with the repository, which alone decides what exists.

#include <functional>
#include <string>

#include "catalog/catalog.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"

namespace syncropy {

[[nodiscard]] CatalogLocation catalog_location(const DatabaseSettings& database, const Repository& repository);

struct RecordCounts {
  unsigned recorded = 0;   // datasets that were in the repository only
  unsigned forgotten = 0;  // datasets that were in the catalog only
};

// Deletes what the catalog has and the repository has not, records what is missing in the order of sequence, each by the difference of its
// manifest to that of the one before. Where something is missing that is older than what is recorded, the client is recorded anew from the
// first manifest on. The caller holds the client's lock. Throws what Catalog throws, and Error(data) for a manifest that cannot be read.
RecordCounts bring_in_line(Catalog& catalog, const ClientStore& store);

}  // namespace syncropy

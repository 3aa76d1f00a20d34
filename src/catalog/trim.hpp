#pragma once
// Versions that no dataset shows any more are deleted here, some time after Catalog::remove() took away the last one that did.
// The table removed_dataset says where to look.

#include <cstdint>

#include "catalog/firebird.hpp"

namespace syncropy {

// The newest dataset of the client was removed, and what it ended is not valid again yet.
[[nodiscard]] bool newest_is_removed(firebird::Attachment& attachment, std::int64_t client);

// In one transaction, which waits for a recording of the client and lets none begin: deletes each version that lies between two datasets that
// remain, with the attributes, link targets and extents that only those had; and joins what is the same before and after. Nothing where
// nothing was removed.
void trim_versions(firebird::Attachment& attachment, std::int64_t client);

}  // namespace syncropy

#pragma once
// The tables, indexes and views of the catalog, and how a database gets them. schema.cpp is their documentation, together with the
// COMMENTs that the database itself carries.

#include <cstdint>

#include "catalog/firebird.hpp"

namespace syncropy {

namespace schema {
inline constexpr std::int64_t open_end = INT64_MAX;  // entry.to_sequence of a version that is still valid
inline constexpr unsigned path_bytes = 1'000;        // entry.path holds this much, with its leading '/'; a longer one is in entry.long_path too
inline constexpr unsigned value_bytes = 2'000;       // xattr.value; a longer one is in xattr.long_value alone
inline constexpr unsigned capabilities_bytes = 1'000;
enum class SetKind : std::int64_t { acl = 1, xattrs, extents, link_target };
}  // namespace schema

// The schema version of this database, 0 when it is empty. Throws Error data when it holds tables but none of ours, or a schema newer than
// `known_version`.
[[nodiscard]] int check_schema(const firebird::Attachment& attachment, int known_version);

// Brings an empty or older database to `known_version`, each step in one transaction. Throws DatabaseError::raced() where another program
// does so at the same time.
void upgrade_schema(const firebird::Attachment& attachment, int known_version);

}  // namespace syncropy

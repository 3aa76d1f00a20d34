#pragma once
// What of an entry stands in which form in its row, for those who write rows and those who check them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"

namespace syncropy {

// By these, rows that many entries share are found again. Empty where an entry has no such thing.
[[nodiscard]] Digest account_digest(std::uint32_t number, std::string_view name);
[[nodiscard]] std::optional<Digest> acl_digest(const std::vector<AclEntry>& acl);
[[nodiscard]] std::optional<Digest> xattrs_digest(const std::vector<Xattr>& xattrs);
[[nodiscard]] std::optional<Digest> extents_digest(const Details& details);
[[nodiscard]] std::optional<Digest> link_target_digest(const Entry& entry);

// As getcap(8) shows them; empty where there are none.
[[nodiscard]] std::optional<std::string> capabilities_of(const std::vector<Xattr>& xattrs);

// The path as its column holds it: from the root, and when it is too long its beginning with the SHA-256 of the whole.
struct StoredPath {
  std::string whole, column;
  [[nodiscard]] bool is_cut() const { return column.size() != whole.size(); }
};
[[nodiscard]] StoredPath stored_path(std::string_view path);

// What is unsigned on Linux and only compared, never counted, keeps its bits.
[[nodiscard]] inline std::int64_t bits_of(std::uint64_t value) { return static_cast<std::int64_t>(value); }

}  // namespace syncropy

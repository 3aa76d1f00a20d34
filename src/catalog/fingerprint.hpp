#pragma once
// One number for everything a catalog shows of a client: equal, but for a chance of one in 2^64 and less, exactly when each dataset shows the same
// paths with the same columns (all but RACY of FILES). It is the sum of a hash for each version where it begins and minus one where it ends,
// so that the order of rows does not matter, nor whether a version stands in one row or in two that follow one another.

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "model/entry.hpp"

namespace syncropy {

// What a row of `entry` says, with the digests of what it refers to (catalog/columns.hpp).
struct RowValues {
  std::string path;  // from the root, whole
  std::int64_t kind = 0, mode = 0;
  Digest owner{}, group{};
  std::int64_t size = 0, mtime = 0, mtime_ns = 0, ctime = 0, ctime_ns = 0, inode = 0, filesystem = 0, links = 0;
  std::optional<std::int64_t> device_major, device_minor;
  std::int64_t flags = 0;
  std::optional<Digest> digest, link_target, access_acl, default_acl, xattrs, extents;
};
[[nodiscard]] RowValues row_values(const Entry& entry);
[[nodiscard]] Digest digest_of_row(const RowValues& row);

class Fingerprint {
 public:
  // The version is shown by the dataset with this sequence, and was not by the one before it.
  void begin(const Digest& row, std::uint64_t sequence) { add(row, sequence, 1); }
  // The version is not shown by this dataset any more.
  void end(const Digest& row, std::uint64_t sequence) { add(row, sequence, ~std::uint64_t{0}); }
  // The first sequence at which two differ; none where they are the same.
  [[nodiscard]] std::optional<std::uint64_t> first_difference(const Fingerprint& other) const;

 private:
  using Sum = std::array<std::uint64_t, 4>;
  void add(const Digest& row, std::uint64_t sequence, std::uint64_t factor);
  std::map<std::uint64_t, Sum> sums_;  // by sequence
};

}  // namespace syncropy

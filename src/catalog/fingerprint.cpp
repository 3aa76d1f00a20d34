#include "catalog/fingerprint.hpp"

#include <cstring>

#include "catalog/columns.hpp"
#include "util/bytes.hpp"

namespace syncropy {
namespace {

void put(ByteWriter& out, const std::optional<Digest>& digest) {
  out.put_byte(digest ? 1 : 0);
  if (digest) out.put_raw(as_bytes(*digest));
}

void put(ByteWriter& out, const std::optional<std::int64_t>& value) {
  out.put_byte(value ? 1 : 0);
  if (value) out.put_signed(*value);
}

}  // namespace

RowValues row_values(const Entry& entry) {
  const Stat& stat = entry.stat;
  RowValues row;
  row.path = stored_path(entry.path).whole;
  row.kind = static_cast<std::int64_t>(stat.type);
  row.mode = stat.mode;
  row.owner = account_digest(stat.uid, entry.details.owner);
  row.group = account_digest(stat.gid, entry.details.group);
  row.size = bits_of(stat.size);
  row.mtime = stat.mtime.seconds, row.mtime_ns = stat.mtime.nanoseconds;
  row.ctime = stat.ctime.seconds, row.ctime_ns = stat.ctime.nanoseconds;
  row.inode = bits_of(stat.inode), row.filesystem = bits_of(stat.filesystem), row.links = bits_of(stat.links);
  if (stat.type == FileType::block_device || stat.type == FileType::character_device) {
    row.device_major = stat.device_major;
    row.device_minor = stat.device_minor;
  }
  row.flags = entry.flags;
  row.digest = entry.digest;
  row.link_target = link_target_digest(entry);
  row.access_acl = acl_digest(entry.details.access_acl);
  row.default_acl = acl_digest(entry.details.default_acl);
  row.xattrs = xattrs_digest(entry.details.xattrs);
  row.extents = extents_digest(entry.details);
  return row;
}

Digest digest_of_row(const RowValues& row) {
  ByteWriter out;
  out.put_string(row.path);
  for (const std::int64_t value : {row.kind, row.mode, row.size, row.mtime, row.mtime_ns, row.ctime, row.ctime_ns, row.inode, row.filesystem, row.links,
                                   row.flags & ~std::int64_t{racy}})
    out.put_signed(value);
  for (const Digest* account : {&row.owner, &row.group}) out.put_raw(as_bytes(*account));
  put(out, row.device_major);
  put(out, row.device_minor);
  for (const auto* digest : {&row.digest, &row.link_target, &row.access_acl, &row.default_acl, &row.xattrs, &row.extents}) put(out, *digest);
  return digest_of(out.view());
}

std::optional<std::uint64_t> Fingerprint::first_difference(const Fingerprint& other) const {
  static constexpr Sum nothing{};
  std::optional<std::uint64_t> first;
  auto look = [&](const Fingerprint& left, const Fingerprint& right) {
    for (const auto& [sequence, sum] : left.sums_) {
      const auto found = right.sums_.find(sequence);
      if (sum != (found == right.sums_.end() ? nothing : found->second) && (!first || sequence < *first)) first = sequence;
    }
  };
  look(*this, other);
  look(other, *this);
  return first;
}

void Fingerprint::add(const Digest& row, std::uint64_t sequence, std::uint64_t factor) {
  ByteWriter out;
  out.put_raw(as_bytes(row));
  out.put_fixed64(sequence);
  const Digest hash = digest_of(out.view());
  Sum parts;
  static_assert(sizeof parts == sizeof hash);
  std::memcpy(parts.data(), hash.data(), sizeof parts);
  Sum& sum = sums_[sequence];
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += parts[i] * factor;
}

}  // namespace syncropy

#include "catalog/columns.hpp"

#include "catalog/schema.hpp"
#include "model/capability.hpp"
#include "util/bytes.hpp"

namespace syncropy {
namespace {

ByteWriter set_bytes(schema::SetKind kind) {
  ByteWriter bytes;
  bytes.put_unsigned(static_cast<std::uint64_t>(kind));
  return bytes;
}

}  // namespace

Digest account_digest(std::uint32_t number, std::string_view name) {
  ByteWriter bytes;
  bytes.put_unsigned(number);
  bytes.put_raw(name);
  return digest_of(bytes.view());
}

std::optional<Digest> acl_digest(const std::vector<AclEntry>& acl) {
  if (acl.empty()) return std::nullopt;
  ByteWriter bytes = set_bytes(schema::SetKind::acl);
  for (const AclEntry& entry : acl) {
    bytes.put_byte(static_cast<std::uint8_t>(entry.tag));
    bytes.put_byte(entry.permissions);
    bytes.put_unsigned(entry.id);
    bytes.put_string(entry.name);
  }
  return digest_of(bytes.view());
}

std::optional<Digest> xattrs_digest(const std::vector<Xattr>& xattrs) {
  if (xattrs.empty()) return std::nullopt;
  ByteWriter bytes = set_bytes(schema::SetKind::xattrs);
  for (const Xattr& xattr : xattrs) {
    bytes.put_string(xattr.name);
    bytes.put_string(xattr.value);
  }
  return digest_of(bytes.view());
}

std::optional<Digest> extents_digest(const Details& details) {
  if (!details.sparse) return std::nullopt;
  ByteWriter bytes = set_bytes(schema::SetKind::extents);
  for (const Extent& extent : details.extents) {
    bytes.put_unsigned(extent.offset);
    bytes.put_unsigned(extent.length);
  }
  return digest_of(bytes.view());
}

std::optional<Digest> link_target_digest(const Entry& entry) {
  if (entry.stat.type != FileType::symlink) return std::nullopt;
  ByteWriter bytes = set_bytes(schema::SetKind::link_target);
  bytes.put_raw(entry.details.link_target);
  return digest_of(bytes.view());
}

std::optional<std::string> capabilities_of(const std::vector<Xattr>& xattrs) {
  for (const Xattr& xattr : xattrs)
    if (xattr.name == "security.capability") return capability_text(xattr.value).substr(0, schema::capabilities_bytes);
  return std::nullopt;
}

StoredPath stored_path(std::string_view path) {
  StoredPath stored{"/" + std::string(path), {}};
  stored.column = stored.whole;
  if (stored.whole.size() > schema::path_bytes) {
    const std::string mark = "...sha256:" + to_hex(digest_of(stored.whole));
    stored.column.resize(schema::path_bytes - mark.size());
    stored.column += mark;
  }
  return stored;
}

}  // namespace syncropy

#include "model/codec.hpp"

#include <algorithm>
#include <utility>

#include "model/limits.hpp"

namespace syncropy {
namespace {

// The first byte of the details says which of them follow.
enum DetailBit : std::uint8_t { has_access_acl = 1, has_default_acl = 2, has_xattrs = 4, is_sparse = 8 };
constexpr std::uint8_t has_digest = 0x80;  // beside the EntryFlags

bool is_device(FileType type) { return type == FileType::block_device || type == FileType::character_device; }
bool has_size(FileType type) { return type == FileType::regular || type == FileType::symlink; }

void put_time(ByteWriter& out, const Timestamp& time) {
  out.put_signed(time.seconds);
  out.put_unsigned(time.nanoseconds);
}

Timestamp get_time(ByteReader& in) {
  Timestamp time;
  time.seconds = in.signed_any();
  time.nanoseconds = static_cast<std::uint32_t>(in.unsigned_at_most(999'999'999));
  return time;
}

void put_acl(ByteWriter& out, const std::vector<AclEntry>& acl) {
  out.put_unsigned(acl.size());
  for (const AclEntry& entry : acl) {
    out.put_byte(static_cast<std::uint8_t>(static_cast<unsigned>(entry.tag) << 3 | entry.permissions));
    if (entry.tag == AclTag::user || entry.tag == AclTag::group) {
      out.put_unsigned(entry.id);
      out.put_string(entry.name);
    }
  }
}

std::vector<AclEntry> get_acl(ByteReader& in) {
  std::vector<AclEntry> acl;
  unsigned seen = 0;  // kinds that stand once: those without an id
  const std::uint64_t count = in.unsigned_at_most(limits::acl_entries);
  if (count == 0) in.reject("holds an empty ACL");
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint8_t head = in.byte();
    AclEntry entry;
    if (head >> 3 < static_cast<int>(AclTag::user_owner) || head >> 3 > static_cast<int>(AclTag::other)) in.reject("holds an ACL entry of unknown kind");
    entry.tag = static_cast<AclTag>(head >> 3);
    entry.permissions = head & 7;
    if (entry.tag == AclTag::user || entry.tag == AclTag::group) {
      entry.id = static_cast<std::uint32_t>(in.unsigned_at_most(UINT32_MAX));
      entry.name = in.string_at_most(limits::account_name_bytes);
    }
    else if (std::exchange(seen, seen | 1U << (head >> 3)) & 1U << (head >> 3)) in.reject("holds an ACL with an entry that can stand only once, twice");
    acl.push_back(std::move(entry));
  }
  return acl;
}

std::vector<Xattr> get_xattrs(ByteReader& in) {
  std::vector<Xattr> xattrs;
  std::size_t total = 0;
  const std::uint64_t count = in.unsigned_at_most(limits::xattrs);
  for (std::uint64_t i = 0; i < count; ++i) {
    Xattr xattr;
    xattr.name = in.string_at_most(limits::xattr_name_bytes);
    xattr.value = in.string_at_most(limits::xattr_value_bytes);
    total += xattr.value.size();
    if (total > limits::xattr_total_bytes) in.reject("holds more than 512 KiB of extended attributes in one entry");
    if (xattr.name.empty() || xattr.name.find('\0') != std::string::npos) in.reject("holds an extended attribute with a name that cannot be");
    if (!xattrs.empty() && xattrs.back().name >= xattr.name) in.reject("holds extended attributes out of order");
    xattrs.push_back(std::move(xattr));
  }
  return xattrs;
}

// Extents are written as gap and length: ascending and apart by construction, inside the file by check.
std::vector<Extent> get_extents(ByteReader& in, std::uint64_t size) {
  std::vector<Extent> extents;
  std::uint64_t end = 0;
  const std::uint64_t count = in.unsigned_at_most(limits::extents);
  for (std::uint64_t i = 0; i < count; ++i) {
    Extent extent;
    extent.offset = end + in.unsigned_at_most(size - end);
    extent.length = in.unsigned_at_most(size - extent.offset);
    if (extent.length == 0 || (i > 0 && extent.offset == end)) in.reject("holds data extents that touch or are empty");
    end = extent.offset + extent.length;
    extents.push_back(extent);
  }
  return extents;
}

}  // namespace

void put_path(ByteWriter& out, std::string_view path, std::string_view previous) {
  const auto shared = static_cast<std::size_t>(std::mismatch(path.begin(), path.end(), previous.begin(), previous.end()).first - path.begin());
  out.put_unsigned(shared);
  out.put_string(path.substr(shared));
}

std::string get_path(ByteReader& in, std::string_view previous) {
  const std::uint64_t shared = in.unsigned_at_most(previous.size());
  std::string path(previous.substr(0, shared));
  path += in.string_at_most(limits::path_bytes - shared);
  if (const char* why = why_not_a_path(path)) in.reject(std::string("a path ") + why);
  return path;
}

void put_stat(ByteWriter& out, const Stat& stat) {
  out.put_unsigned(static_cast<std::uint64_t>(stat.mode) << 3 | static_cast<std::uint64_t>(stat.type));
  out.put_unsigned(stat.uid);
  out.put_unsigned(stat.gid);
  if (has_size(stat.type)) out.put_unsigned(stat.size);
  put_time(out, stat.mtime);
  put_time(out, stat.ctime);
  out.put_unsigned(stat.inode);
  out.put_unsigned(stat.filesystem);
  out.put_unsigned(stat.links);
  if (is_device(stat.type)) {
    out.put_unsigned(stat.device_major);
    out.put_unsigned(stat.device_minor);
  }
}

Stat get_stat(ByteReader& in) {
  Stat stat;
  const std::uint64_t head = in.unsigned_at_most(07777U << 3 | 7);
  if ((head & 7) == 0) in.reject("holds an entry of unknown type");
  stat.type = static_cast<FileType>(head & 7);
  stat.mode = static_cast<std::uint16_t>(head >> 3);
  stat.uid = static_cast<std::uint32_t>(in.unsigned_at_most(UINT32_MAX));
  stat.gid = static_cast<std::uint32_t>(in.unsigned_at_most(UINT32_MAX));
  if (has_size(stat.type)) stat.size = in.unsigned_at_most(limits::file_bytes);
  stat.mtime = get_time(in);
  stat.ctime = get_time(in);
  stat.inode = in.unsigned_any();
  stat.filesystem = in.unsigned_any();
  stat.links = in.unsigned_at_most(UINT32_MAX);
  if (is_device(stat.type)) {
    stat.device_major = static_cast<std::uint32_t>(in.unsigned_at_most(UINT32_MAX));
    stat.device_minor = static_cast<std::uint32_t>(in.unsigned_at_most(UINT32_MAX));
  }
  return stat;
}

void put_details(ByteWriter& out, const Details& details, FileType type) {
  std::uint8_t bits = 0;
  if (!details.access_acl.empty()) bits |= has_access_acl;
  if (!details.default_acl.empty()) bits |= has_default_acl;
  if (!details.xattrs.empty()) bits |= has_xattrs;
  if (details.sparse) bits |= is_sparse;
  out.put_byte(bits);
  out.put_string(details.owner);
  out.put_string(details.group);
  if (type == FileType::symlink) out.put_string(details.link_target);
  if (bits & has_access_acl) put_acl(out, details.access_acl);
  if (bits & has_default_acl) put_acl(out, details.default_acl);
  if (bits & has_xattrs) {
    out.put_unsigned(details.xattrs.size());
    for (const Xattr& xattr : details.xattrs) {
      out.put_string(xattr.name);
      out.put_string(xattr.value);
    }
  }
  if (bits & is_sparse) {
    out.put_unsigned(details.extents.size());
    std::uint64_t end = 0;
    for (const Extent& extent : details.extents) {
      out.put_unsigned(extent.offset - end);
      out.put_unsigned(extent.length);
      end = extent.offset + extent.length;
    }
  }
}

Details get_details(ByteReader& in, const Stat& stat) {
  const std::uint8_t bits = in.byte();
  if (bits > (has_access_acl | has_default_acl | has_xattrs | is_sparse)) in.reject("holds details of unknown kind");
  if ((bits & has_default_acl) && stat.type != FileType::folder) in.reject("holds a default ACL of something that is no folder");
  if ((bits & is_sparse) && stat.type != FileType::regular) in.reject("holds extents of something that is no regular file");
  Details details;
  details.owner = in.string_at_most(limits::account_name_bytes);
  details.group = in.string_at_most(limits::account_name_bytes);
  if (stat.type == FileType::symlink) {
    details.link_target = in.string_at_most(limits::link_target_bytes);
    if (details.link_target.find('\0') != std::string::npos) in.reject("holds a link target with a NUL byte");
  }
  if (bits & has_access_acl) details.access_acl = get_acl(in);
  if (bits & has_default_acl) details.default_acl = get_acl(in);
  if (bits & has_xattrs) details.xattrs = get_xattrs(in);
  details.sparse = (bits & is_sparse) != 0;
  if (details.sparse) details.extents = get_extents(in, stat.size);
  return details;
}

void put_entry(ByteWriter& out, const Entry& entry, std::string_view previous_path) {
  put_path(out, entry.path, previous_path);
  put_stat(out, entry.stat);
  out.put_byte(static_cast<std::uint8_t>(entry.flags | (entry.digest ? has_digest : 0)));
  put_details(out, entry.details, entry.stat.type);
  if (entry.digest) out.put_raw(as_bytes(*entry.digest));
}

Entry get_entry(ByteReader& in, std::string_view previous_path) {
  Entry entry;
  entry.path = get_path(in, previous_path);
  entry.stat = get_stat(in);
  const std::uint8_t flags = in.byte();
  entry.flags = flags & static_cast<std::uint8_t>(~has_digest);
  if (entry.flags > (racy | unstable | unread)) in.reject("holds an entry with unknown flags");
  entry.details = get_details(in, entry.stat);
  if (flags & has_digest) {
    const std::string_view bytes = in.raw(SHA256_DIGEST_SIZE);
    entry.digest.emplace();
    std::copy(bytes.begin(), bytes.end(), entry.digest->begin());
  }
  // A regular file has content unless it could not be read; nothing else ever has.
  const bool content = entry.stat.type == FileType::regular && !(entry.flags & unread);
  if (content != entry.digest.has_value()) in.reject("holds an entry whose digest does not fit its type");
  return entry;
}

}  // namespace syncropy

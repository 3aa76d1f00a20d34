#include "server/pax-writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace syncropy {
namespace {

constexpr std::size_t block_bytes = 512;
constexpr std::size_t record_bytes = 20 * block_bytes;  // what tar(1) writes at once: the stream ends at a multiple of it
constexpr std::size_t name_field = 100, prefix_field = 155, account_field = 32;

// Octal digits and a NUL; where they do not suffice, GNU's binary number, which libarchive reads as well.
void put_number(char* field, std::size_t width, std::uint64_t value) {
  std::memset(field, '0', width - 1);
  field[width - 1] = '\0';
  std::uint64_t rest = value;
  for (std::size_t at = width - 1; at-- > 0; rest >>= 3) field[at] = static_cast<char>('0' + (rest & 7));
  if (rest == 0) return;
  for (std::size_t at = width; at-- > 0; value >>= 8) field[at] = static_cast<char>(value & 0xff);
  field[0] = static_cast<char>(static_cast<unsigned char>(field[0]) | 0x80);
}

bool fits(std::uint64_t value, unsigned digits) { return value >> (3 * digits) == 0; }

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
void put_record(std::string& records, std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) length = rest + std::to_string(length).size();
  fmt::format_to(std::back_inserter(records), "{} {}=", length, key);
  records += value;
  records += '\n';
}

// A decimal fraction of seconds: -1.25 is a second and a quarter before 1970.
std::string time_text(const Timestamp& time) {
  std::int64_t seconds = time.seconds;
  std::uint32_t nanoseconds = time.nanoseconds;
  if (nanoseconds == 0) return std::to_string(seconds);
  const bool negative = seconds < 0;
  if (negative) {
    seconds = -(seconds + 1);
    nanoseconds = 1'000'000'000 - nanoseconds;
  }
  return fmt::format("{}{}.{:09}", negative ? "-" : "", seconds, nanoseconds);
}

// GNU tar ends an attribute's name at '=' and writes %3D for it, and so %25 for the '%' of a "%3D" that is meant. libarchive does not: only
// names that need it are written so.
std::string xattr_key(std::string_view name) {
  std::string key = "SCHILY.xattr.";
  for (std::size_t at = 0; at < name.size(); ++at) {
    const std::string_view next = name.substr(at + 1, 2);
    if (name[at] == '=') key += "%3D";
    else if (name[at] == '%' && (next == "3D" || next == "25")) key += "%25";
    else key += name[at];
  }
  return key;
}

// As acl_to_text(3), a number after each account's name: for machines that do not know it. A name that the text's own signs are in, or that
// looks like a number, is left out.
std::string acl_text(const std::vector<AclEntry>& acl, bool numeric) {
  std::string text;
  for (const AclEntry& entry : acl) {
    if (!text.empty()) text += ',';
    const bool is_account = entry.tag == AclTag::user || entry.tag == AclTag::group;
    switch (entry.tag) {
      case AclTag::user_owner:
      case AclTag::user: text += "user:"; break;
      case AclTag::group_owner:
      case AclTag::group: text += "group:"; break;
      case AclTag::mask: text += "mask:"; break;
      case AclTag::other: text += "other:"; break;
    }
    const bool by_name = !numeric && !entry.name.empty() && entry.name.find_first_not_of("0123456789") != std::string::npos &&
                         std::none_of(entry.name.begin(), entry.name.end(), [](char c) { return c == ':' || c == ',' || c == '#' || (c >= 0 && c <= ' '); });
    if (is_account) text += by_name ? entry.name : std::to_string(entry.id);
    text += ':';
    for (int bit = 2; bit >= 0; --bit) text += entry.permissions >> bit & 1 ? "xwr"[bit] : '-';
    if (is_account) fmt::format_to(std::back_inserter(text), ":{}", entry.id);
  }
  return text;
}

// GNU.sparse 1.0: the count of the data's extents, and offset and length of each, a line each, in whole blocks before the data. The last
// one, empty, says how long the file is.
std::string sparse_map(const Entry& entry) {
  const std::vector<Extent>& extents = entry.details.extents;
  const bool ends_in_hole = extents.empty() || extents.back().offset + extents.back().length < entry.stat.size;
  std::string map = fmt::format("{}\n", extents.size() + (ends_in_hole ? 1 : 0));
  for (const Extent& extent : extents) fmt::format_to(std::back_inserter(map), "{}\n{}\n", extent.offset, extent.length);
  if (ends_in_hole) fmt::format_to(std::back_inserter(map), "{}\n0\n", entry.stat.size);
  map.resize((map.size() + block_bytes - 1) / block_bytes * block_bytes, '\0');
  return map;
}

char type_flag(FileType type) {
  switch (type) {
    case FileType::symlink: return '2';
    case FileType::character_device: return '3';
    case FileType::block_device: return '4';
    case FileType::folder: return '5';
    case FileType::fifo: return '6';
    default: return '0';
  }
}

std::string member_name(const Entry& entry) {
  if (entry.path.empty()) return "./";
  return entry.stat.type == FileType::folder ? entry.path + "/" : entry.path;
}

}  // namespace

struct PaxWriter::Header {
  std::string name{}, link{}, owner{}, group{};
  char type = '0';
  std::uint32_t mode = 0, uid = 0, gid = 0, device_major = 0, device_minor = 0;
  std::uint64_t size = 0;
  std::uint64_t mtime = 0;
};

// The last block of what was written is filled up.
void PaxWriter::pad() { out_.write_zeros((block_bytes - out_.position() % block_bytes) % block_bytes); }

// What the next header cannot hold.
void PaxWriter::put_extra(const char* name, char type, std::string_view content) {
  put_header({.name = name, .type = type, .mode = 0644, .size = content.size()});
  out_.write(content);
  pad();
}

void PaxWriter::put_header(const Header& header) {
  std::string_view name = header.name, prefix;
  if (name.size() > name_field) {
    // The first slash that leaves a name short enough.
    const std::size_t slash = name.find('/', name.size() - name_field - 1);
    if (slash != std::string_view::npos && slash > 0 && slash <= prefix_field && slash + 1 < name.size()) {
      prefix = name.substr(0, slash);
      name.remove_prefix(slash + 1);
    } else {
      put_extra("././@LongLink", 'L', header.name + '\0');
      name = name.substr(0, name_field);
    }
  }
  if (header.link.size() > name_field) put_extra("././@LongLink", 'K', header.link + '\0');
  char block[block_bytes] = {};
  auto put_text = [&](std::size_t at, std::string_view text, std::size_t width) { text.copy(block + at, width); };
  put_text(0, name, name_field);
  put_number(block + 100, 8, header.mode);
  put_number(block + 108, 8, header.uid);
  put_number(block + 116, 8, header.gid);
  put_number(block + 124, 12, header.size);
  put_number(block + 136, 12, header.mtime);
  std::memset(block + 148, ' ', 8);
  block[156] = header.type;
  put_text(157, header.link, name_field);
  put_text(257, std::string_view("ustar\00000", 8), 8);
  put_text(265, header.owner, account_field - 1);
  put_text(297, header.group, account_field - 1);
  put_number(block + 329, 8, header.device_major);
  put_number(block + 337, 8, header.device_minor);
  put_text(345, prefix, prefix_field);
  unsigned sum = 0;
  for (const char byte : block) sum += static_cast<unsigned char>(byte);
  put_number(block + 148, 7, sum);
  out_.write({block, sizeof block});
}

// The header of `entry`, preceded by `records` and those that say what a header cannot.
void PaxWriter::put_member(const Entry& entry, Header& header, std::string_view records) {
  const Stat& stat = entry.stat;
  header.name = member_name(entry);
  header.mode = stat.mode;
  header.uid = stat.uid;
  header.gid = stat.gid;
  header.mtime = static_cast<std::uint64_t>(std::max<std::int64_t>(stat.mtime.seconds, 0));
  if (!numeric_) {
    header.owner = entry.details.owner;
    header.group = entry.details.group;
  }
  std::string all;
  if (stat.mtime.nanoseconds != 0 || stat.mtime.seconds < 0 || !fits(header.mtime, 11)) put_record(all, "mtime", time_text(stat.mtime));
  if (!fits(stat.uid, 7)) put_record(all, "uid", std::to_string(stat.uid));
  if (!fits(stat.gid, 7)) put_record(all, "gid", std::to_string(stat.gid));
  if (!fits(header.size, 11)) put_record(all, "size", std::to_string(header.size));
  if (header.owner.size() >= account_field) put_record(all, "uname", header.owner);
  if (header.group.size() >= account_field) put_record(all, "gname", header.group);
  all += records;
  if (!all.empty()) put_extra("././@PaxHeader", 'x', all);
  put_header(header);
}

void PaxWriter::add(const Entry& entry) {
  const Details& details = entry.details;
  Header header{.link = details.link_target, .type = type_flag(entry.stat.type)};
  header.device_major = entry.stat.device_major;
  header.device_minor = entry.stat.device_minor;
  std::string records, map;
  if (entry.stat.type == FileType::regular) {
    header.size = data_bytes(entry);
    if (details.sparse) {
      map = sparse_map(entry);
      header.size += map.size();
      put_record(records, "GNU.sparse.major", "1");
      put_record(records, "GNU.sparse.minor", "0");
      put_record(records, "GNU.sparse.realsize", std::to_string(entry.stat.size));
    }
  }
  if (!details.access_acl.empty()) put_record(records, "SCHILY.acl.access", acl_text(details.access_acl, numeric_));
  if (!details.default_acl.empty()) put_record(records, "SCHILY.acl.default", acl_text(details.default_acl, numeric_));
  for (const Xattr& xattr : details.xattrs) put_record(records, xattr_key(xattr.name), xattr.value);
  put_member(entry, header, records);
  out_.write(map);
}

void PaxWriter::data(std::string_view bytes) { out_.write(bytes); }

void PaxWriter::end_content() { pad(); }

void PaxWriter::add_link(const Entry& entry, std::string_view leader) {
  Header header{.link = std::string(leader), .type = '1'};
  put_member(entry, header, {});
}

void PaxWriter::finish() {
  out_.write_zeros(2 * block_bytes);
  out_.write_zeros((record_bytes - out_.position() % record_bytes) % record_bytes);
  out_.flush();
}

}  // namespace syncropy

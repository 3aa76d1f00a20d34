#include "scan/details.hpp"

#include <acl/libacl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/acl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string_view>
#include <vector>

#include "model/limits.hpp"
#include "scan/statx.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr std::size_t remembered_names = 65'536;
constexpr std::size_t account_record_bytes = 1U << 20;  // a group with very many members
constexpr std::size_t xattr_list_bytes = 65'536;        // XATTR_LIST_MAX
constexpr std::string_view access_acl_name = "system.posix_acl_access";
constexpr std::string_view default_acl_name = "system.posix_acl_default";

// `ask(buffer, size, name)` is getpwuid_r or getgrgid_r for one number: sets `name`, returns 0 or an errno.
template <typename Ask>
const std::string& remembered(std::unordered_map<std::uint32_t, std::string>& table, std::uint32_t number, Ask ask) {
  if (const auto known = table.find(number); known != table.end()) return known->second;
  if (table.size() >= remembered_names) table.clear();
  std::string name;
  std::vector<char> buffer(4'096);
  for (int code; (code = ask(number, buffer, name)) != 0;) {
    if (code == EINTR) continue;
    if (code != ERANGE || buffer.size() >= account_record_bytes) break;
    buffer.resize(buffer.size() * 4);
  }
  if (name.size() > limits::account_name_bytes) name.clear();
  return table.emplace(number, std::move(name)).first->second;
}

// How one open entry is addressed by the calls that know no O_PATH descriptor.
struct Handle {
  int fd;
  std::string proc_path;  // empty where `fd` itself will do

  [[nodiscard]] ssize_t list(char* into, std::size_t size) const {
    return proc_path.empty() ? ::flistxattr(fd, into, size) : ::listxattr(proc_path.c_str(), into, size);
  }
  [[nodiscard]] ssize_t get(const char* name, char* into, std::size_t size) const {
    return proc_path.empty() ? ::fgetxattr(fd, name, into, size) : ::getxattr(proc_path.c_str(), name, into, size);
  }
};

std::string proc_path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

[[noreturn]] void reject(const std::string& what) {
  throw Error(ExitStatus::data, what, "the entry exceeds a bound of the format; exclude it from the backup");
}

struct FreeAcl {
  void operator()(void* acl) const { ::acl_free(acl); }
};
using Acl = std::unique_ptr<std::remove_pointer_t<acl_t>, FreeAcl>;

std::vector<AclEntry> entries_of(const Acl& acl, AccountNames& names) {
  std::vector<AclEntry> entries;
  acl_entry_t raw;
  for (int which = ACL_FIRST_ENTRY; ::acl_get_entry(acl.get(), which, &raw) == 1; which = ACL_NEXT_ENTRY) {
    if (entries.size() == limits::acl_entries) reject("an ACL holds more than 8,192 entries");
    acl_tag_t tag;
    acl_permset_t permissions;
    if (::acl_get_tag_type(raw, &tag) != 0 || ::acl_get_permset(raw, &permissions) != 0) {
      throw_errno(ExitStatus::io, "decode", "an ACL entry");
    }
    AclEntry entry;
    const auto has = [&](acl_perm_t permission) { return ::acl_get_perm(permissions, permission) == 1; };
    entry.permissions = static_cast<std::uint8_t>((has(ACL_READ) ? 4 : 0) | (has(ACL_WRITE) ? 2 : 0) | (has(ACL_EXECUTE) ? 1 : 0));
    if (tag == ACL_USER || tag == ACL_GROUP) {
      const std::unique_ptr<void, FreeAcl> id(::acl_get_qualifier(raw));
      if (!id) throw_errno(ExitStatus::io, "decode", "an ACL entry's account");
      entry.id = *static_cast<const id_t*>(id.get());
      entry.name = tag == ACL_USER ? names.user(entry.id) : names.group(entry.id);
    }
    switch (tag) {
      case ACL_USER_OBJ: entry.tag = AclTag::user_owner; break;
      case ACL_USER: entry.tag = AclTag::user; break;
      case ACL_GROUP_OBJ: entry.tag = AclTag::group_owner; break;
      case ACL_GROUP: entry.tag = AclTag::group; break;
      case ACL_MASK: entry.tag = AclTag::mask; break;
      default: entry.tag = AclTag::other; break;
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::vector<AclEntry> read_acl(const Handle& handle, acl_type_t type, AccountNames& names) {
  // libacl reads a default ACL by path only.
  Acl acl(type == ACL_TYPE_ACCESS && handle.proc_path.empty() ? ::acl_get_fd(handle.fd)
                                                              : ::acl_get_file(proc_path_of(handle.fd).c_str(), type));
  if (!acl) {
    if (errno == ENODATA || errno == ENOTSUP) return {};
    throw_errno(ExitStatus::io, "read attribute", type == ACL_TYPE_ACCESS ? access_acl_name : default_acl_name);
  }
  if (type == ACL_TYPE_ACCESS && ::acl_equiv_mode(acl.get(), nullptr) == 0) return {};
  return entries_of(acl, names);
}

bool may_be_refused(std::string_view name) { return name.starts_with("trusted.") || name.starts_with("security."); }

// Adds one attribute to `details`; `total` counts the bytes of all values.
void read_xattr(const Handle& handle, const char* name, Details& details, std::size_t& total) {
  std::array<char, limits::xattr_value_bytes> value;
  const ssize_t size = handle.get(name, value.data(), value.size());
  if (size < 0) {
    if (errno == ENODATA) return;
    if ((errno == EPERM || errno == EACCES || errno == ENOTSUP) && may_be_refused(name)) return;
    if (errno == ERANGE || errno == E2BIG) reject("attribute " + escape(name) + " holds more than 65,536 bytes");
    throw_errno(ExitStatus::io, "read attribute", name);
  }
  total += static_cast<std::size_t>(size);
  if (total > limits::xattr_total_bytes) reject("the extended attributes hold more than 524,288 bytes");
  if (details.xattrs.size() == limits::xattrs) reject("there are more than 1,024 extended attributes");
  details.xattrs.push_back({name, std::string(value.data(), static_cast<std::size_t>(size))});
}

std::string read_link_target(int fd) {
  std::array<char, limits::link_target_bytes + 1> target;
  const ssize_t size = ::readlinkat(fd, "", target.data(), target.size());
  if (size < 0) throw_errno(ExitStatus::io, "read", "the target of a symbolic link");
  if (static_cast<std::size_t>(size) > limits::link_target_bytes) reject("the target of a symbolic link is longer than 4,095 bytes");
  return {target.data(), static_cast<std::size_t>(size)};
}

// The data within the first `size` bytes. Where the filesystem knows no holes or contradicts itself, all is data.
std::vector<Extent> data_of(int fd, std::uint64_t size) {
  std::vector<Extent> extents;
  for (std::uint64_t at = 0; at < size;) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) break;  // only a hole from here to the end
      if (errno == EINVAL || errno == ENOTSUP) return {{0, size}};
      throw_errno(ExitStatus::io, "find data in", "a sparse file");
    }
    const std::uint64_t start = static_cast<std::uint64_t>(data);
    if (start >= size) break;
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    // ENXIO: the file was cut between the two calls, which its reader will notice.
    if (hole < 0 && errno != ENXIO) throw_errno(ExitStatus::io, "find a hole in", "a sparse file");
    std::uint64_t end = hole < 0 ? size : std::min(static_cast<std::uint64_t>(hole), size);
    if (start < at || end <= start) return {{0, size}};
    if (extents.size() + 1 == limits::extents) end = size;
    if (!extents.empty() && extents.back().offset + extents.back().length == start) {
      extents.back().length += end - start;
    } else {
      extents.push_back({start, end - start});
    }
    at = end;
  }
  return extents;
}

}  // namespace

const std::string& AccountNames::user(std::uint32_t uid) {
  return remembered(users_, uid, [](std::uint32_t number, std::vector<char>& buffer, std::string& name) {
    passwd record{};
    passwd* found = nullptr;
    const int code = ::getpwuid_r(number, &record, buffer.data(), buffer.size(), &found);
    if (found != nullptr) name = found->pw_name;
    return code;
  });
}

const std::string& AccountNames::group(std::uint32_t gid) {
  return remembered(groups_, gid, [](std::uint32_t number, std::vector<char>& buffer, std::string& name) {
    ::group record{};
    ::group* found = nullptr;
    const int code = ::getgrgid_r(number, &record, buffer.data(), buffer.size(), &found);
    if (found != nullptr) name = found->gr_name;
    return code;
  });
}

Stat stat_of(int fd, std::uint64_t* allocated) {
  Stat stat;
  if (const int code = read_stat(fd, "", stat, allocated)) throw SystemError(ExitStatus::io, code, "stat", "an open file");
  return stat;
}

Details read_details(int fd, const Stat& stat, bool acl, AccountNames& names) {
  Details details;
  details.owner = names.user(stat.uid);
  details.group = names.group(stat.gid);
  const bool readable = stat.type == FileType::regular || stat.type == FileType::folder;
  const Handle handle{fd, readable ? std::string() : proc_path_of(fd)};
  if (stat.type == FileType::symlink) details.link_target = read_link_target(fd);

  std::array<char, xattr_list_bytes> list;
  const ssize_t size = handle.list(list.data(), list.size());
  if (size < 0) {
    if (errno == ENOTSUP) return details;
    if (errno == ERANGE || errno == E2BIG) reject("the names of the extended attributes hold more than 65,536 bytes");
    throw_errno(ExitStatus::io, "list", "extended attributes");
  }
  std::size_t total = 0;
  for (const char *name = list.data(), *end = name + size; name < end; name += std::string_view(name).size() + 1) {
    const std::string_view text(name);
    if (text.starts_with("system.")) {
      if (acl && text == access_acl_name) details.access_acl = read_acl(handle, ACL_TYPE_ACCESS, names);
      if (acl && text == default_acl_name) details.default_acl = read_acl(handle, ACL_TYPE_DEFAULT, names);
    } else {
      read_xattr(handle, name, details, total);
    }
  }
  std::sort(details.xattrs.begin(), details.xattrs.end());
  return details;
}

void read_extents(int fd, const Stat& stat, std::uint64_t allocated, Details& details) {
  details.sparse = false;
  details.extents.clear();
  if (stat.type != FileType::regular || stat.size == 0 || allocated >= stat.size) return;

  std::vector<Extent> extents = data_of(fd, stat.size);
  if (::lseek(fd, 0, SEEK_SET) != 0) throw_errno(ExitStatus::io, "rewind", "an open file");
  if (extents.size() == 1 && extents[0] == Extent{0, stat.size}) return;
  details.sparse = true;
  details.extents = std::move(extents);
}

}  // namespace syncropy

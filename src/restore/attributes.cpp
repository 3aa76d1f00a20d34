#include "restore/attributes.hpp"

#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr const char* access_acl_name = "system.posix_acl_access";
constexpr const char* default_acl_name = "system.posix_acl_default";
constexpr const char* capability_name = "security.capability";
constexpr std::uint32_t no_account = UINT32_MAX;  // to chown(2): leave it as it is

// The calls on one inode, by its descriptor or, where that is O_PATH, through /proc/self/fd. Each returns 0 or an errno.
class Inode {
 public:
  explicit Inode(const OpenEntry& open) : open_(open), proc_path_(open.by_path ? "/proc/self/fd/" + std::to_string(open.fd) : std::string()) {}

  [[nodiscard]] int chown(uid_t uid, gid_t gid) const {
    const int result = open_.by_path ? ::fchownat(open_.fd, "", uid, gid, AT_EMPTY_PATH) : ::fchown(open_.fd, uid, gid);
    return result == 0 ? 0 : errno;
  }
  [[nodiscard]] int chmod(mode_t mode) const {
    const int result = open_.by_path ? ::chmod(proc_path_.c_str(), mode) : ::fchmod(open_.fd, mode);
    return result == 0 ? 0 : errno;
  }
  [[nodiscard]] int set(const char* name, std::string_view value) const {
    const int result = open_.by_path ? ::setxattr(proc_path_.c_str(), name, value.data(), value.size(), 0)
                                     : ::fsetxattr(open_.fd, name, value.data(), value.size(), 0);
    return result == 0 ? 0 : errno;
  }
  [[nodiscard]] int remove(const char* name) const {
    const int result = open_.by_path ? ::removexattr(proc_path_.c_str(), name) : ::fremovexattr(open_.fd, name);
    return result == 0 || errno == ENODATA ? 0 : errno;
  }
  [[nodiscard]] bool has(const char* name) const {
    return (open_.by_path ? ::getxattr(proc_path_.c_str(), name, nullptr, 0) : ::fgetxattr(open_.fd, name, nullptr, 0)) > 0;
  }
  [[nodiscard]] int set_time(Timestamp mtime) const {
    const timespec times[2] = {{0, UTIME_OMIT}, {mtime.seconds, static_cast<long>(mtime.nanoseconds)}};
    int result = open_.by_path ? ::utimensat(open_.fd, "", times, AT_EMPTY_PATH) : ::futimens(open_.fd, times);
    // Kernels before 5.8 know no AT_EMPTY_PATH here.
    if (result != 0 && errno == EINVAL && open_.by_path) result = ::utimensat(open_.folder, open_.name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    return result == 0 ? 0 : errno;
  }
  [[nodiscard]] bool stat(struct stat& st) const { return ::fstat(open_.fd, &st) == 0; }
  // Some filesystems say ENOSPC when an attribute does not fit beside its inode.
  [[nodiscard]] bool has_free_space() const {
    struct statvfs space{};
    return ::fstatvfs(open_.fd, &space) == 0 && space.f_bavail > 64;
  }

 private:
  const OpenEntry& open_;
  std::string proc_path_;
};

bool is_the_kernels(std::string_view name) {
  for (const std::string_view prefix : {"security.selinux", "security.ima", "security.evm", "security.apparmor", "security.SMACK64"})
    if (name.starts_with(prefix)) return true;
  return false;
}

std::vector<AclEntry> acl_here(const std::vector<AclEntry>& acl, Accounts& accounts) {
  std::vector<AclEntry> here;
  here.reserve(acl.size());
  for (const AclEntry& entry : acl) {
    std::uint32_t id = 0;
    if (entry.tag == AclTag::user) id = accounts.user(entry.name, entry.id);
    if (entry.tag == AclTag::group) id = accounts.group(entry.name, entry.id);
    here.push_back({entry.tag, entry.permissions, id, {}});
  }
  std::sort(here.begin(), here.end(), [](const AclEntry& left, const AclEntry& right) { return std::pair(left.tag, left.id) < std::pair(right.tag, right.id); });
  // Two accounts mapped to one: what both may.
  for (std::size_t i = 1; i < here.size();) {
    if (here[i].tag != here[i - 1].tag || here[i].id != here[i - 1].id) {
      ++i;
      continue;
    }
    here[i - 1].permissions &= here[i].permissions;
    here.erase(here.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return here;
}

bool is_same_acl(const std::vector<AclEntry>& wanted, std::vector<AclEntry> found) {
  std::sort(found.begin(), found.end(), [](const AclEntry& left, const AclEntry& right) { return std::pair(left.tag, left.id) < std::pair(right.tag, right.id); });
  return std::equal(wanted.begin(), wanted.end(), found.begin(), found.end(), [](const AclEntry& left, const AclEntry& right) {
    return left.tag == right.tag && left.id == right.id && left.permissions == right.permissions;
  });
}

// As the kernel takes it: struct posix_acl_xattr_header and its entries, little-endian.
std::string acl_bytes(const std::vector<AclEntry>& acl) {
  std::string bytes;
  const auto put = [&](std::uint32_t value, int size) {
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  };
  put(POSIX_ACL_XATTR_VERSION, 4);
  for (const AclEntry& entry : acl) {
    unsigned tag = ACL_OTHER;
    switch (entry.tag) {
      case AclTag::user_owner: tag = ACL_USER_OBJ; break;
      case AclTag::user: tag = ACL_USER; break;
      case AclTag::group_owner: tag = ACL_GROUP_OBJ; break;
      case AclTag::group: tag = ACL_GROUP; break;
      case AclTag::mask: tag = ACL_MASK; break;
      case AclTag::other: break;
    }
    put(tag, 2);
    put(entry.permissions, 2);
    put(entry.tag == AclTag::user || entry.tag == AclTag::group ? entry.id : static_cast<std::uint32_t>(ACL_UNDEFINED_ID), 4);
  }
  return bytes;
}

// The group bits that a mode may have where its ACL is missing.
mode_t group_bits_without(const std::vector<AclEntry>& acl) {
  unsigned bits = 7;
  for (const AclEntry& entry : acl)
    if (entry.tag == AclTag::group_owner || entry.tag == AclTag::mask) bits &= entry.permissions;
  return bits << 3;
}

class Setter {
 public:
  Setter(const OpenEntry& open, const Attributes& wanted, AttributeChanges changes, RestoreOutcome& outcome)
      : inode_(open), wanted_(wanted), entry_(wanted.entry), changes_(std::move(changes)), outcome_(outcome) {}

  void set_all() {
    if (changes_.owner || changes_.group) set_owner();
    for (const std::string& name : changes_.remove) static_cast<void>(inode_.remove(name.c_str()));
    for (const Xattr* xattr : changes_.set)
      if (xattr->name != capability_name) set_xattr(*xattr);
    if (entry_.stat.type != FileType::symlink) {
      if (changes_.mode || changes_.access_acl) set_mode();
      if (changes_.default_acl) set_acl(default_acl_name, "default ACL", wanted_.default_acl);
    }
    for (const Xattr* xattr : changes_.set)
      if (xattr->name == capability_name) set_xattr(*xattr);
    if (changes_.time)
      if (const int code = inode_.set_time(entry_.stat.mtime)) fall_short("time", code);
  }

 private:
  void fall_short(std::string what, int code) { add_shortfall(outcome_, std::move(what), code, entry_.path); }

  void set_owner() {
    const uid_t uid = changes_.owner ? wanted_.uid : no_account;
    const gid_t gid = changes_.group ? wanted_.gid : no_account;
    const bool can_be_said = (!changes_.owner || uid != no_account) && (!changes_.group || gid != no_account);
    if (can_be_said && inode_.chown(uid, gid) == 0) {
      note_chown();
      return;
    }
    if (changes_.owner) has_owner_ = set_one("owner", uid, no_account, uid != no_account);
    if (changes_.group) has_group_ = set_one("group", no_account, gid, gid != no_account);
    if ((entry_.stat.mode & (S_ISUID | S_ISGID)) != 0) changes_.mode = true;
  }
  bool set_one(const char* what, uid_t uid, gid_t gid, bool can_be_said) {
    const int code = can_be_said ? inode_.chown(uid, gid) : EINVAL;
    if (code == 0) note_chown();
    else fall_short(what, code);
    return code == 0;
  }
  // chown(2) takes the set-id bits and the capabilities away.
  void note_chown() {
    changes_.mode = true;
    for (const Xattr& xattr : entry_.details.xattrs)
      if (xattr.name == capability_name && std::find(changes_.set.begin(), changes_.set.end(), &xattr) == changes_.set.end()) changes_.set.push_back(&xattr);
  }

  void set_xattr(const Xattr& xattr) {
    const bool is_capability = xattr.name == capability_name;
    int code = is_capability && !has_owner_ ? EPERM : inode_.set(xattr.name.c_str(), xattr.value);
    if (code == EACCES && !is_opened_up_) {
      // A mode without write permission keeps its ordinary owner from user.*.
      is_opened_up_ = changes_.mode = true;
      if (inode_.chmod(entry_.stat.type == FileType::folder ? 0700 : 0600) == 0) code = inode_.set(xattr.name.c_str(), xattr.value);
    }
    if (code == 0) return;
    if (ends_the_restore(code) && code != EIO && code != EROFS && inode_.has_free_space()) code = E2BIG;
    fall_short(is_capability ? "capabilities" : "attribute " + escape(xattr.name), code);
  }

  void set_mode() {
    mode_t mode = entry_.stat.mode & 07777;
    if (!has_owner_) mode &= ~static_cast<mode_t>(S_ISUID);
    if (!has_group_) mode &= ~static_cast<mode_t>(S_ISGID);
    int code = mode == entry_.stat.mode ? 0 : EPERM;
    if (changes_.access_acl && wanted_.access_acl.empty()) static_cast<void>(inode_.remove(access_acl_name));
    const bool with_acl = changes_.access_acl && !wanted_.access_acl.empty();
    // The ACL brings the group's bits: until it is there nobody gets them.
    if (const int failed = inode_.chmod(with_acl ? mode & ~static_cast<mode_t>(S_IRWXG) : mode)) code = failed;
    if (with_acl && !set_acl(access_acl_name, "access ACL", wanted_.access_acl))
      if (const int failed = inode_.chmod((mode & ~static_cast<mode_t>(S_IRWXG)) | group_bits_without(wanted_.access_acl))) code = failed;
    // Without a word, the kernel leaves set-group-id away for who is not in the group.
    struct stat st{};
    if (code == 0 && (mode & S_ISGID) != 0 && inode_.stat(st) && (st.st_mode & S_ISGID) == 0) code = EPERM;
    if (code != 0) fall_short("mode", code);
  }

  bool set_acl(const char* name, const char* what, const std::vector<AclEntry>& acl) {
    int code = acl.empty() ? inode_.remove(name) : inode_.set(name, acl_bytes(acl));
    if (code == 0 || (acl.empty() && code == ENOTSUP)) return true;
    if (ends_the_restore(code) && code != EIO && code != EROFS && inode_.has_free_space()) code = E2BIG;
    fall_short(what, code);
    return false;
  }

  Inode inode_;
  const Attributes& wanted_;
  const Entry& entry_;
  AttributeChanges changes_;
  RestoreOutcome& outcome_;
  bool has_owner_ = true, has_group_ = true, is_opened_up_ = false;
};

}  // namespace

bool ends_the_restore(int code) { return code == ENOSPC || code == EDQUOT || code == EIO || code == EROFS; }

void add_shortfall(RestoreOutcome& outcome, std::string what, int code, std::string_view path) {
  if (ends_the_restore(code)) throw SystemError(ExitStatus::io, code, "restore the " + what + " of", path);
  if (outcome.shortfalls.size() < limits::shortfalls) outcome.shortfalls.push_back({std::move(what), static_cast<std::uint32_t>(code)});
}

Attributes attributes_of(const Entry& entry, Accounts& accounts) {
  return {entry, accounts.user(entry.details.owner, entry.stat.uid), accounts.group(entry.details.group, entry.stat.gid),
          acl_here(entry.details.access_acl, accounts), acl_here(entry.details.default_acl, accounts)};
}

AttributeChanges changes_to(const Attributes& wanted, const Stat& stat, const Details& details) {
  AttributeChanges changes;
  const Entry& entry = wanted.entry;
  changes.owner = wanted.uid != stat.uid;
  changes.group = wanted.gid != stat.gid;
  changes.mode = stat.type != FileType::symlink && entry.stat.mode != stat.mode;
  changes.time = entry.stat.mtime != stat.mtime;
  if ((entry.flags & unread) != 0) return changes;  // what else it had is not known
  changes.access_acl = !is_same_acl(wanted.access_acl, details.access_acl);
  changes.default_acl = !is_same_acl(wanted.default_acl, details.default_acl);
  // Both are sorted by name.
  auto found = details.xattrs.begin();
  const auto pass_over = [&](const Xattr& extra) {
    if (!is_the_kernels(extra.name)) changes.remove.push_back(extra.name);
  };
  for (const Xattr& xattr : entry.details.xattrs) {
    while (found != details.xattrs.end() && found->name < xattr.name) pass_over(*found++);
    if (found != details.xattrs.end() && found->name == xattr.name) {
      if (found->value != xattr.value) changes.set.push_back(&xattr);
      ++found;
    } else {
      changes.set.push_back(&xattr);
    }
  }
  while (found != details.xattrs.end()) pass_over(*found++);
  return changes;
}

void set_attributes(const OpenEntry& open, const Attributes& wanted, AttributeChanges changes, RestoreOutcome& outcome) {
  Setter(open, wanted, std::move(changes), outcome).set_all();
}

void drop_inherited_acls(const OpenEntry& open, bool is_folder) {
  const Inode inode(open);
  if (is_folder) static_cast<void>(inode.remove(default_acl_name));
  static_cast<void>(inode.remove(access_acl_name));
}

bool has_default_acl(const OpenEntry& folder) { return Inode(folder).has(default_acl_name); }

}  // namespace syncropy

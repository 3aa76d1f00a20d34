#pragma once
// Owner, mode, ACLs, extended attributes and time of an entry: what differs, and how it is given back by descriptor.

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"
#include "model/restore.hpp"
#include "restore/accounts.hpp"

namespace syncropy {

// ENOSPC, EDQUOT, EIO, EROFS: what ends a whole restore.
[[nodiscard]] bool ends_the_restore(int code);
// Adds a shortfall, at most limits::shortfalls; throws SystemError(io) instead where `code` ends the restore.
void add_shortfall(RestoreOutcome& outcome, std::string what, int code, std::string_view path);

// The attributes of an entry in the numbers of this machine. Refers to the entry.
struct Attributes {
  const Entry& entry;
  uid_t uid;
  gid_t gid;
  std::vector<AclEntry> access_acl, default_acl;  // in the kernel's order, without names
};
[[nodiscard]] Attributes attributes_of(const Entry& entry, Accounts& accounts);

// What is to be set.
struct AttributeChanges {
  bool owner = false, group = false, mode = false, access_acl = false, default_acl = false, time = false;
  std::vector<const Xattr*> set;    // of the entry
  std::vector<std::string> remove;  // names
  [[nodiscard]] bool any() const { return owner || group || mode || access_acl || default_acl || time || !set.empty() || !remove.empty(); }
};
// `details` as read_details() gives them. Attributes that belong to the kernel or its security module are not taken away.
[[nodiscard]] AttributeChanges changes_to(const Attributes& wanted, const Stat& stat, const Details& details);

// An inode that is open, and a name that it has in a held folder.
struct OpenEntry {
  int fd;
  bool by_path;  // O_PATH: reached through /proc/self/fd
  int folder;
  const std::string& name;
};
// Sets owner and group, extended attributes, mode, ACLs, capabilities and the modification time, in this order: each would undo what comes
// after it, or could not be done after it. What cannot be set is added to `outcome`. No set-user-id (set-group-id) without its owner (group);
// without its ACL a group gets no more than the ACL gave it. Throws SystemError(io) when the disk is full or fails.
void set_attributes(const OpenEntry& open, const Attributes& wanted, AttributeChanges changes, RestoreOutcome& outcome);

// Takes ACLs away that a new entry inherited from its folder.
void drop_inherited_acls(const OpenEntry& open, bool is_folder);
// Whether what is made in `folder` inherits ACLs.
[[nodiscard]] bool has_default_acl(const OpenEntry& folder);

}  // namespace syncropy

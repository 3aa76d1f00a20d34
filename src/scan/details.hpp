#pragma once
// What the fetch adds to a listing: attributes read by descriptor, and the map of a sparse file.

#include <string>
#include <vector>

#include "model/entry.hpp"
#include "util/fd.hpp"

namespace syncropy {

// Account names by number, remembered; one per session, not thread-safe. Asks getpwuid_r/getgrgid_r once per number.
class AccountNames {
 public:
  [[nodiscard]] const std::string& user(std::uint32_t uid);
  [[nodiscard]] const std::string& group(std::uint32_t gid);

 private:
  struct Table;
  // map<uint32_t, string>, bounded to 65,536 numbers each (then cleared)
};

// Stat of an open descriptor (O_PATH too) by statx(2). Throws SystemError(io).
[[nodiscard]] Stat stat_of(int fd);

// Everything in Details for the entry open as `fd`. Regular files and folders come open for reading; all others open O_PATH
// (their attributes are reached through /proc/self/fd). `acl` false leaves both ACLs empty. An access ACL that only repeats the mode is left out.
// Attributes that may not be read (security.* without privilege, EPERM, ENOTSUP) are passed over when the kernel lists but
// refuses them only if they are trusted.*; any other failure throws SystemError naming the attribute. More than the bounds of
// model/limits.hpp throws Error(data).
// `system.*` attributes other than POSIX ACLs are left out.
[[nodiscard]] Details read_details(int fd, const Stat& stat, bool acl, AccountNames& names);

// Data extents of a regular file by SEEK_DATA/SEEK_HOLE: sets `sparse` and `extents` when there is at least one hole; beyond limits::extents the
// last one runs to the end of the file. Files whose allocated blocks cover their size are not probed.
void read_extents(int fd, const Stat& stat, Details& details);

}  // namespace syncropy

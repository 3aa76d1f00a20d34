#pragma once
// What the fetch adds to a listing: attributes read by descriptor, and the map of a sparse file.

#include <cstdint>
#include <string>
#include <unordered_map>

#include "model/entry.hpp"

namespace syncropy {

// Account names by number, each asked of getpwuid_r(3) or getgrgid_r(3) once. One per session, not thread-safe. A number
// without a name, a name longer than limits::account_name_bytes and a name service that does not answer all give "": the
// number is in the Stat anyway. A reference is valid until the next call.
class AccountNames {
 public:
  [[nodiscard]] const std::string& user(std::uint32_t uid);
  [[nodiscard]] const std::string& group(std::uint32_t gid);

 private:
  std::unordered_map<std::uint32_t, std::string> users_, groups_;  // each cleared when it has grown to 65,536 names
};

// Stat of an open descriptor (O_PATH too) by statx(2), and the bytes it takes on its disk. Throws SystemError(io).
[[nodiscard]] Stat stat_of(int fd, std::uint64_t* allocated = nullptr);

// Everything in Details for the entry open as `fd`, except `sparse` and `extents`. Regular files and folders come open for
// reading; all others come open with O_PATH, and their attributes are reached through /proc/self/fd. `stat` is that of `fd`.
//
// `acl` false leaves both ACLs empty. So does a filesystem without them; an access ACL that only repeats the mode is left
// out. Attributes of the namespace system.* are not among `xattrs`: POSIX ACLs have their own place, the others (NFSv4
// ACLs, CIFS) cannot be given back elsewhere. An attribute that vanishes between listing and reading is passed over, and so
// is one of trusted.* or security.* that the kernel lists and then refuses to an unprivileged reader.
//
// Throws SystemError(io), naming the attribute, for any other failure, and Error(data) for more than the bounds of
// model/limits.hpp. The file's name is not known here: whoever catches adds it.
[[nodiscard]] Details read_details(int fd, const Stat& stat, bool acl, AccountNames& names);

// The data of a sparse file by SEEK_DATA and SEEK_HOLE (lseek(2)): sets `sparse` and `extents` when the first stat.size bytes
// of the regular file `fd` hold at least one hole, and clears both otherwise. Beyond limits::extents the last extent runs to
// the end of the file. A file that takes `allocated` bytes on its disk, and these cover its size, is not probed; a filesystem that
// does not know holes has none. Leaves the file's offset at 0. Throws SystemError(io).
void read_extents(int fd, const Stat& stat, std::uint64_t allocated, Details& details);

}  // namespace syncropy

#pragma once
// One path in one dataset, with everything a restore gives back: the noun that the listing, the manifest and the
// catalog share.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/digest.hpp"

namespace syncropy {

enum class FileType : std::uint8_t { regular = 1, folder, symlink, block_device, character_device, fifo, socket };

// One letter as `ls -l` shows it: - d l b c p s.
[[nodiscard]] char letter_of(FileType type);

struct Timestamp {
  std::int64_t seconds = 0;        // since 1970-01-01 UTC, may be negative
  std::uint32_t nanoseconds = 0;   // 0 to 999,999,999
  auto operator<=>(const Timestamp&) const = default;
};

// What one statx(2) gives. `size` is 0 unless regular file or symbolic link; `device_major/minor` 0 unless a device.
struct Stat {
  FileType type = FileType::regular;
  std::uint16_t mode = 0;  // the twelve permission bits, set-id and sticky among them
  std::uint32_t uid = 0, gid = 0;
  std::uint64_t size = 0;
  Timestamp mtime, ctime;
  std::uint64_t inode = 0;
  std::uint64_t filesystem = 0;  // st_dev of the client; with `inode` it names a hard-link group where links > 1
  std::uint64_t links = 1;
  std::uint32_t device_major = 0, device_minor = 0;
  bool operator==(const Stat&) const = default;
};

enum class AclTag : std::uint8_t { user_owner = 1, user, group_owner, group, mask, other };

struct AclEntry {
  AclTag tag = AclTag::other;
  std::uint8_t permissions = 0;  // r = 4, w = 2, x = 1
  std::uint32_t id = 0;          // uid or gid of `user` and `group`, 0 otherwise
  std::string name;              // the account's name on the client, empty where it has none
  bool operator==(const AclEntry&) const = default;
};

struct Xattr {
  std::string name;   // with its namespace: "user.comment", "security.capability"
  std::string value;  // bytes
  auto operator<=>(const Xattr&) const = default;
};

struct Extent {
  std::uint64_t offset = 0, length = 0;  // bytes that hold data; all else up to size is a hole
  bool operator==(const Extent&) const = default;
};

// What a listing does not carry: read with the fetch, by descriptor.
struct Details {
  std::string owner, group;                   // names on the client, empty where the number has none
  std::vector<AclEntry> access_acl;           // empty: the mode says it all
  std::vector<AclEntry> default_acl;          // folders only
  std::vector<Xattr> xattrs;                  // sorted by name; POSIX ACLs are not among them
  std::string link_target;                    // symbolic links only
  bool sparse = false;                        // regular files: `extents` lists the data, the rest is holes
  std::vector<Extent> extents;                // ascending, not adjacent, within size; empty with `sparse`: one hole
  bool operator==(const Details&) const = default;
};

enum EntryFlag : std::uint8_t {
  racy = 1,      // ctime within two seconds of the reading: fetched again next time, whatever its stat says
  unstable = 2,  // changed during each of three readings; the last was stored
  unread = 4,    // could not be read: attributes may be missing, there is no content
};

struct Entry {
  std::string path;  // relative to the client's root, no leading slash, "" for the root itself; bytes
  Stat stat;
  Details details;
  std::optional<Digest> digest;  // of the content; regular files that were read
  std::uint8_t flags = 0;        // EntryFlag
  bool operator==(const Entry&) const = default;
};

// The manifest's order: component by component, bytes unsigned, a folder before what is in it. That is what a
// depth-first walk with sorted names yields; '/' sorts below every other byte.
[[nodiscard]] std::strong_ordering compare_paths(std::string_view left, std::string_view right);

// Why `path` cannot be an entry's path ("has an empty component", …), or nullptr where it can: relative, no empty
// component, no "." or "..", no NUL byte, within limits::name_bytes, path_bytes and path_depth.
[[nodiscard]] const char* why_not_a_path(std::string_view path);

// The folder a path lies in ("" for the root's children) and its last component.
[[nodiscard]] std::string_view parent_of(std::string_view path);
[[nodiscard]] std::string_view name_of(std::string_view path);

// Whether `path` lies in `folder`, at whatever depth; a folder does not lie in itself.
[[nodiscard]] bool is_below(std::string_view path, std::string_view folder);
[[nodiscard]] inline bool is_at_or_below(std::string_view path, std::string_view folder) { return path == folder || is_below(path, folder); }

// Nothing a listing shows has changed: type, size, mtime, ctime, inode. Mode and owner move the ctime.
[[nodiscard]] bool same_listing(const Stat& left, const Stat& right);

}  // namespace syncropy

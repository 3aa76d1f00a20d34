#pragma once
// The bounds of everything a peer, a file or the database may name. Each is larger than what Linux filesystems hold
// or is said here to be smaller; what exceeds one is refused by name, never cut off.

#include <cstddef>
#include <cstdint>

namespace syncropy::limits {

inline constexpr std::size_t name_bytes = 255;          // one path component: NAME_MAX of ext4, XFS, btrfs
inline constexpr std::size_t path_bytes = 65'535;       // a whole path; PATH_MAX (4,096) bounds a call, not a tree
inline constexpr std::size_t path_depth = 1'000;        // components of a path
inline constexpr std::size_t link_target_bytes = 4'095; // PATH_MAX without its terminator
inline constexpr std::size_t account_name_bytes = 255;  // owner and group names (useradd allows 32)
inline constexpr std::size_t acl_entries = 8'192;       // one ACL; an extended attribute of 64 KiB holds no more
inline constexpr std::size_t xattrs = 1'024;            // of one entry
inline constexpr std::size_t xattr_name_bytes = 255;    // XATTR_NAME_MAX
inline constexpr std::size_t xattr_value_bytes = 65'536;  // XATTR_SIZE_MAX
inline constexpr std::size_t xattr_total_bytes = 524'288; // all values of one entry; fits one frame
inline constexpr std::size_t extents = 16'384;          // data extents of one sparse file; more are merged
inline constexpr std::uint64_t file_bytes = INT64_MAX;  // off_t
inline constexpr std::uint64_t hole_bytes = UINT64_C(16) << 40;  // holes of one file together: `truncate -s 8E` costs nothing, hashing it would take centuries

}  // namespace syncropy::limits

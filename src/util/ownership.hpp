#pragma once
// Who may change what is at a path.

#include <sys/stat.h>
#include <sys/types.h>

#include <string>

namespace syncropy {

// It belongs to root or to `owner`, and nobody else may write it. A POSIX ACL that lets others write shows in the group's bits, its mask.
[[nodiscard]] bool only_owner_writes(const struct stat& st, uid_t owner);

// The first folder above `path` in which somebody who is neither root nor `owner` could put something else into the place of what leads there; ""
// where there is none. `path` is absolute and has no symbolic link in it, as realpath(3) gives it. A folder with the sticky bit will do: others
// cannot rename or remove there what is not theirs. Throws SystemError(refused) for one that cannot be looked at.
[[nodiscard]] std::string changeable_above(const std::string& path, uid_t owner);

// realpath(3); "" and errno where there is nothing.
[[nodiscard]] std::string resolved_path(const std::string& path);

}  // namespace syncropy

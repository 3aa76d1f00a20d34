#pragma once
// What is in an entry's place and has to go.

#include <string>

namespace syncropy {

// Removes `name` in folder `at` and all below it, whatever it is: depth-first, following no link, crossing no mount. What can be removed is
// removed, what stays keeps its place. Returns 0 when nothing is left, or the first errno (EXDEV: a mount). A bounded number of descriptors
// whatever the depth. Throws SystemError(io) when the disk fails.
[[nodiscard]] int remove_within(int at, const std::string& name);

}  // namespace syncropy

#pragma once
// File capabilities for people (capabilities(7), vfs_cap_data in linux/capability.h).

#include <string>
#include <string_view>

namespace syncropy {

// The value of the extended attribute "security.capability" as getcap(8) shows it: "cap_net_raw=ep"; version 3 with a user namespace's root
// adds " [rootid=NUMBER]". What is no such value: its bytes as "0x" and hexadecimal digits.
[[nodiscard]] std::string capability_text(std::string_view xattr_value);

}  // namespace syncropy

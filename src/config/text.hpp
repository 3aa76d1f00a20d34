#pragma once
// What both readers of settings do with a word.

#include <string>
#include <string_view>

namespace syncropy {

inline constexpr std::string_view blanks = " \t\r\n\f\v";

// Without the blanks around it, ends of lines included.
[[nodiscard]] std::string_view strip(std::string_view text);
// A to Z in lower case, all other bytes as they are.
[[nodiscard]] std::string lower(std::string_view text);

}  // namespace syncropy

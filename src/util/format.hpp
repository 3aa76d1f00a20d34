#pragma once
// Figures as people read them.

#include <cstdint>
#include <string>

namespace syncropy {

// 1536 -> "1.5 KiB"; 12034 -> "12,034".
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);
[[nodiscard]] std::string format_count(std::uint64_t count);

}  // namespace syncropy

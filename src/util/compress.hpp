#pragma once
// Zstandard (RFC 8878), whole buffers, bounded on the way back.

#include <string>
#include <string_view>

#include "util/error.hpp"

namespace syncropy {

[[nodiscard]] std::string compress(std::string_view bytes, int level);
// Throws Error(`status`, "SUBJECT: …") when `bytes` is not one whole frame or would exceed `bound` bytes; the frame's own
// claim about its size is checked before anything is allocated.
[[nodiscard]] std::string decompress(std::string_view bytes, std::size_t bound, ExitStatus status, std::string_view subject);

}  // namespace syncropy

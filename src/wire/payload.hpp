#pragma once
// How every message is read.

#include <cstdint>
#include <string_view>

#include "util/bytes.hpp"
#include "util/error.hpp"

namespace syncropy {

// Throws Error protocol where `payload` is not what it should be; `subject` names the message.
[[nodiscard]] inline ByteReader reader_of(std::string_view payload, std::string_view subject) { return {payload, ExitStatus::protocol, subject}; }

[[nodiscard]] inline std::uint32_t get_u32(ByteReader& in) { return static_cast<std::uint32_t>(in.unsigned_at_most(UINT32_MAX)); }

}  // namespace syncropy

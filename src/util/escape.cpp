#include "util/escape.hpp"

#include <cstdint>

namespace syncropy {
namespace {

// Length of the well-formed UTF-8 sequence at `at` (Unicode 15, table 3-7), or 0.
std::size_t sequence_length(std::string_view bytes, std::size_t at) {
  auto byte = [&](std::size_t i) -> unsigned { return at + i < bytes.size() ? static_cast<std::uint8_t>(bytes[at + i]) : 0U; };
  auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) { return byte(i) >= low && byte(i) <= high; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first == 0xE0) return tail(1, 0xA0) && tail(2) ? 3 : 0;
  if (first == 0xED) return tail(1, 0x80, 0x9F) && tail(2) ? 3 : 0;
  if (first >= 0xE1 && first <= 0xEF) return tail(1) && tail(2) ? 3 : 0;
  if (first == 0xF0) return tail(1, 0x90) && tail(2) && tail(3) ? 4 : 0;
  if (first >= 0xF1 && first <= 0xF3) return tail(1) && tail(2) && tail(3) ? 4 : 0;
  if (first == 0xF4) return tail(1, 0x80, 0x8F) && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

// U+2028/2029 break lines, U+202A-202E, U+2066-2069 and U+200E/F reorder what a terminal shows.
bool is_deceptive(std::string_view sequence) {
  if (sequence.size() != 3 || static_cast<std::uint8_t>(sequence[0]) != 0xE2) return false;
  const auto second = static_cast<std::uint8_t>(sequence[1]), third = static_cast<std::uint8_t>(sequence[2]);
  if (second == 0x80) return third == 0x8E || third == 0x8F || (third >= 0xA8 && third <= 0xAE);
  return second == 0x81 && third >= 0xA6 && third <= 0xA9;
}

void put_hex(std::string& out, std::uint8_t byte) {
  static constexpr char digits[] = "0123456789abcdef";
  out += "\\x";
  out += digits[byte >> 4];
  out += digits[byte & 15];
}

}  // namespace

std::string escape(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const auto byte = static_cast<std::uint8_t>(bytes[at]);
    const std::size_t length = sequence_length(bytes, at);
    const std::string_view sequence = bytes.substr(at, length == 0 ? 1 : length);
    const bool c1 = length == 2 && byte == 0xC2 && static_cast<std::uint8_t>(sequence[1]) < 0xA0;
    if (byte == '\n') out += "\\n";
    else if (byte == '\t') out += "\\t";
    else if (byte == '\r') out += "\\r";
    else if (byte == '\\') out += "\\\\";
    else if (length == 0 || byte < 0x20 || byte == 0x7F || c1 || is_deceptive(sequence))
      for (char c : sequence) put_hex(out, static_cast<std::uint8_t>(c));
    else out += sequence;
    at += sequence.size();
  }
  return out;
}

std::string json_text(std::string_view bytes) {
  std::string quoted = "\"";
  for (const char c : escape(bytes)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace syncropy

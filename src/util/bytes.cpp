#include "util/bytes.hpp"

namespace syncropy {

void ByteWriter::put_unsigned(std::uint64_t value) {
  while (value >= 0x80) {
    put_byte(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  put_byte(static_cast<std::uint8_t>(value));
}

void ByteWriter::put_signed(std::int64_t value) {
  put_unsigned((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

void ByteWriter::put_fixed32(std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) put_byte(static_cast<std::uint8_t>(value >> shift));
}

void ByteWriter::put_fixed64(std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) put_byte(static_cast<std::uint8_t>(value >> shift));
}

void ByteWriter::put_string(std::string_view bytes) {
  put_unsigned(bytes.size());
  buffer_ += bytes;
}

void ByteWriter::patch_fixed32(std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) buffer_[at + i] = static_cast<char>(value >> (8 * i));
}

void ByteReader::reject(std::string_view why) const { throw Error(status_, std::string(subject_) + ": " + std::string(why)); }

std::uint8_t ByteReader::byte() {
  if (rest_.empty()) reject("ends too early");
  const auto value = static_cast<std::uint8_t>(rest_.front());
  rest_.remove_prefix(1);
  return value;
}

std::uint64_t ByteReader::unsigned_at_most(std::uint64_t bound) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const std::uint8_t next = byte();
    if (shift == 63 && next > 1) reject("holds an integer of more than 64 bits");
    if (next == 0 && shift > 0) reject("holds an integer with needless bytes");
    value |= static_cast<std::uint64_t>(next & 0x7F) << shift;
    if (next < 0x80) {
      if (value > bound) reject("holds a value of " + std::to_string(value) + " where " + std::to_string(bound) + " is the limit");
      return value;
    }
  }
  reject("holds an integer of more than 64 bits");
}

std::int64_t ByteReader::signed_any() {
  const std::uint64_t value = unsigned_any();
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

std::uint32_t ByteReader::fixed32() {
  std::uint32_t value = 0;
  for (int shift = 0; shift < 32; shift += 8) value |= static_cast<std::uint32_t>(byte()) << shift;
  return value;
}

std::uint64_t ByteReader::fixed64() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 8) value |= static_cast<std::uint64_t>(byte()) << shift;
  return value;
}

std::string_view ByteReader::string_at_most(std::size_t bound) { return raw(unsigned_at_most(bound)); }

std::string_view ByteReader::raw(std::size_t count) {
  if (count > rest_.size()) reject("ends too early");
  const std::string_view bytes = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return bytes;
}

void ByteReader::expect_end() const {
  if (!rest_.empty()) reject("has " + std::to_string(rest_.size()) + " bytes too many");
}

}  // namespace syncropy

#pragma once
// Integers and strings to bytes and back, bounded: the alphabet of the wire and of the manifest.

#include <cstdint>
#include <string>
#include <string_view>

#include "util/error.hpp"

namespace syncropy {

// Appends to a buffer of its own. Unsigned integers are LEB128, signed ones zigzag LEB128, strings a LEB128 length and
// the bytes; fixed-width integers are little-endian.
class ByteWriter {
 public:
  void put_byte(std::uint8_t value) { buffer_ += static_cast<char>(value); }
  void put_unsigned(std::uint64_t value);
  void put_signed(std::int64_t value);
  void put_fixed32(std::uint32_t value);
  void put_fixed64(std::uint64_t value);
  void put_string(std::string_view bytes);
  void put_raw(std::string_view bytes) { buffer_ += bytes; }
  // Overwrites four bytes written earlier at `at` (a length known only afterwards).
  void patch_fixed32(std::size_t at, std::uint32_t value);

  [[nodiscard]] std::string_view view() const { return buffer_; }
  [[nodiscard]] std::size_t size() const { return buffer_.size(); }
  [[nodiscard]] std::string take() { return std::move(buffer_); }
  void clear() { buffer_.clear(); }

 private:
  std::string buffer_;
};

// Reads what ByteWriter wrote, from memory the caller keeps alive. Anything cut short, overlong or above its bound
// throws Error with `status` and the text "SUBJECT: …".
class ByteReader {
 public:
  ByteReader(std::string_view bytes, ExitStatus status, std::string_view subject)
      : rest_(bytes), status_(status), subject_(subject) {}

  [[nodiscard]] std::uint8_t byte();
  [[nodiscard]] std::uint64_t unsigned_at_most(std::uint64_t bound);
  [[nodiscard]] std::uint64_t unsigned_any() { return unsigned_at_most(UINT64_MAX); }
  [[nodiscard]] std::int64_t signed_any();
  [[nodiscard]] std::uint32_t fixed32();
  [[nodiscard]] std::uint64_t fixed64();
  [[nodiscard]] std::string_view string_at_most(std::size_t bound);
  [[nodiscard]] std::string_view raw(std::size_t count);
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] std::size_t remaining() const { return rest_.size(); }
  // Throws unless everything was read.
  void expect_end() const;
  // Throws "SUBJECT: WHY"; for the checks of a caller that decodes through this reader.
  [[noreturn]] void reject(std::string_view why) const;

 private:
  std::string_view rest_;
  ExitStatus status_;
  std::string_view subject_;
};

}  // namespace syncropy

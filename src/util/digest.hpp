#pragma once
// SHA-256 (FIPS 180-4), by nettle: the identity of content, segments and certificates.

#include <nettle/sha2.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace syncropy {

using Digest = std::array<std::uint8_t, SHA256_DIGEST_SIZE>;

class Hasher {
 public:
  Hasher() { sha256_init(&state_); }
  void update(std::string_view bytes);
  // The digest of `count` zero bytes more, without the caller holding them: the hole of a sparse file. That takes hours for some TiB:
  // `between` is called every 4 MiB, and a throw of it ends the call.
  void update_zeros(std::uint64_t count, const std::function<void()>& between = {});
  // The digest of all bytes so far; the hasher starts anew.
  [[nodiscard]] Digest finish();

 private:
  sha256_ctx state_;
};

[[nodiscard]] Digest digest_of(std::string_view bytes);
// 64 lower-case hexadecimal digits.
[[nodiscard]] std::string to_hex(const Digest& digest);
// The reverse, for exactly 64 digits of either case; none otherwise.
[[nodiscard]] std::optional<Digest> digest_from_hex(std::string_view text);
[[nodiscard]] inline std::string_view as_bytes(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace syncropy

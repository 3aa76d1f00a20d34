#pragma once
// What a person carries from the server to a client: whom to believe, and a secret that is good for one certificate.
//
// 16 bytes of the SHA-256 of the CA's public key, 16 random bytes, and 3 bytes of SHA-256 over both so that a slip of the finger is told before
// anything is sent: 35 bytes, written as 56 letters and digits of Crockford's base 32 (no I, L, O, U), in eight groups of seven.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "util/digest.hpp"

namespace syncropy {

struct Token {
  std::array<std::uint8_t, 16> authority{};  // the beginning of the digest of the CA's public key
  std::array<std::uint8_t, 16> secret{};

  [[nodiscard]] std::string_view secret_bytes() const { return {reinterpret_cast<const char*>(secret.data()), secret.size()}; }
};

// With a secret that nobody has seen.
[[nodiscard]] Token new_token(const Digest& authority_key_id);
[[nodiscard]] std::string format_token(const Token& token);
// Letters of either case; I and L are read as 1, O as 0; blanks and dashes anywhere. Throws Error(usage) where something is missing, too
// much or mistyped, without repeating it.
[[nodiscard]] Token parse_token(std::string_view text);

// What the server keeps of a token: nothing that gets anybody in.
[[nodiscard]] Digest digest_of_secret(std::string_view secret);
[[nodiscard]] bool equal_in_constant_time(const Digest& left, const Digest& right);

}  // namespace syncropy

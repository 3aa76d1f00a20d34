#include "enrol/token.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "util/error.hpp"

namespace syncropy {
namespace {

constexpr std::string_view alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t check_bytes = 3, token_bytes = 16 + 16 + check_bytes;
constexpr std::size_t token_digits = token_bytes * 8 / 5;
constexpr std::size_t group = 7;
static_assert(token_bytes * 8 % 5 == 0 && token_digits % group == 0);

using Bytes = std::array<std::uint8_t, token_bytes>;

void add_check(Bytes& bytes) {
  Hasher hasher;
  hasher.update("syncropy enrolment token 1");
  hasher.update({reinterpret_cast<const char*>(bytes.data()), bytes.size() - check_bytes});
  const Digest digest = hasher.finish();
  std::copy_n(digest.begin(), check_bytes, bytes.end() - check_bytes);
}

int value_of(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (c == 'I' || c == 'L') c = '1';
  if (c == 'O') c = '0';
  const std::size_t at = alphabet.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

[[noreturn]] void mistyped(const std::string& why) {
  throw Error(ExitStatus::usage, "the token is mistyped: " + why, "copy the whole line that 'syncropy enroll' printed on the server");
}

}  // namespace

Token new_token(const Digest& authority_key_id) {
  Token token;
  std::copy_n(authority_key_id.begin(), token.authority.size(), token.authority.begin());
  for (std::size_t done = 0; done < token.secret.size();) {
    const ssize_t got = ::getrandom(token.secret.data() + done, token.secret.size() - done, 0);
    if (got < 0 && errno != EINTR) throw_errno(ExitStatus::internal, "draw", "a secret");
    if (got > 0) done += static_cast<std::size_t>(got);
  }
  return token;
}

std::string format_token(const Token& token) {
  Bytes bytes{};
  std::copy(token.authority.begin(), token.authority.end(), bytes.begin());
  std::copy(token.secret.begin(), token.secret.end(), bytes.begin() + 16);
  add_check(bytes);
  std::string text;
  for (std::size_t digit = 0; digit < token_digits; ++digit) {
    if (digit > 0 && digit % group == 0) text += '-';
    unsigned value = 0;
    for (std::size_t bit = digit * 5; bit < digit * 5 + 5; ++bit) value = value << 1 | (bytes[bit / 8] >> (7 - bit % 8) & 1U);
    text += alphabet[value];
  }
  return text;
}

Token parse_token(std::string_view text) {
  Bytes bytes{};
  std::size_t digit = 0;
  for (const char c : text) {
    if (c == '-' || c == ' ' || c == '\t' || c == '\n' || c == '\r') continue;
    const int value = value_of(c);
    if (value < 0) mistyped("it holds a character that no token has");
    if (digit == token_digits) mistyped("it is longer than " + std::to_string(token_digits) + " letters and digits");
    for (std::size_t i = 0; i < 5; ++i)
      if (value >> (4 - i) & 1) bytes[(digit * 5 + i) / 8] |= static_cast<std::uint8_t>(0x80U >> ((digit * 5 + i) % 8));
    ++digit;
  }
  if (digit < token_digits) mistyped("it has " + std::to_string(digit) + " letters and digits, of " + std::to_string(token_digits));
  Bytes checked = bytes;
  add_check(checked);
  if (checked != bytes) mistyped("its last characters do not fit the others");
  Token token;
  std::copy_n(bytes.begin(), 16, token.authority.begin());
  std::copy_n(bytes.begin() + 16, 16, token.secret.begin());
  return token;
}

Digest digest_of_secret(std::string_view secret) {
  Hasher hasher;
  hasher.update("syncropy enrolment secret 1");
  hasher.update(secret);
  return hasher.finish();
}

bool equal_in_constant_time(const Digest& left, const Digest& right) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < left.size(); ++i) difference |= static_cast<unsigned>(left[i] ^ right[i]);
  return difference == 0;
}

}  // namespace syncropy

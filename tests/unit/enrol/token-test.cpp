#include "enrol/token.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "util/error.hpp"

namespace syncropy {
namespace {

Digest key_id() {
  Digest id{};
  for (std::size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::uint8_t>(i * 7);
  return id;
}

std::string refusal(std::string_view text) {
  try {
    static_cast<void>(parse_token(text));
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::usage);
    return error.what();
  }
  return {};
}

TEST(Token, ComesBackAsItWentHoweverItIsTyped) {
  for (int i = 0; i < 200; ++i) {
    const Token token = new_token(key_id());
    std::string text = format_token(token);
    EXPECT_EQ(text.size(), 8U * 7 + 7);
    const Token same = parse_token(text);
    EXPECT_EQ(same.authority, token.authority);
    EXPECT_EQ(same.secret, token.secret);
    std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c == '-' ? ' ' : c == '1' ? 'l' : c == '0' ? 'o' : static_cast<char>(std::tolower(c)); });
    EXPECT_EQ(parse_token("  " + text + "\r\n").secret, token.secret);
  }
}

TEST(Token, HoldsTheBeginningOfTheKeysDigest) {
  const Digest id = key_id();
  EXPECT_TRUE(std::equal(id.begin(), id.begin() + 16, new_token(id).authority.begin()));
}

TEST(Token, IsNeverTheSameTwice) {
  std::set<std::string> seen;
  for (int i = 0; i < 1'000; ++i) seen.insert(format_token(new_token(key_id())));
  EXPECT_EQ(seen.size(), 1'000U);
}

// 24 bits of a sum: one slip is found but for one case in sixteen million.
TEST(Token, TellsEverySlipOfAFinger) {
  const std::string text = format_token(new_token(key_id()));
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '-') continue;
    std::string slipped = text;
    slipped[i] = text[i] == 'A' ? 'B' : 'A';
    EXPECT_NE(refusal(slipped).find("last characters"), std::string::npos) << slipped;
    slipped.erase(i, 1);
    EXPECT_NE(refusal(slipped).find("55 letters and digits, of 56"), std::string::npos);
  }
  EXPECT_NE(refusal(text + "A").find("longer"), std::string::npos);
  EXPECT_NE(refusal("").find("0 letters"), std::string::npos);
  EXPECT_NE(refusal(text.substr(0, 20) + "U" + text.substr(21)).find("no token has"), std::string::npos);
  EXPECT_NE(refusal(std::string(1'000'000, 'A')).find("longer"), std::string::npos);
}

TEST(Token, IsNotRepeatedInWhatIsWrongWithIt) {
  const std::string text = format_token(new_token(key_id()));
  EXPECT_EQ(refusal(text.substr(0, text.size() - 1) + (text.back() == 'A' ? "B" : "A")).find(text.substr(0, 7)), std::string::npos);
}

TEST(Token, IsKeptAsADigestOfItsSecret) {
  const Token token = new_token(key_id());
  const Digest kept = digest_of_secret(token.secret_bytes());
  EXPECT_TRUE(equal_in_constant_time(kept, digest_of_secret(parse_token(format_token(token)).secret_bytes())));
  EXPECT_FALSE(equal_in_constant_time(kept, digest_of_secret(new_token(key_id()).secret_bytes())));
  EXPECT_FALSE(equal_in_constant_time(kept, digest_of(token.secret_bytes())));  // nobody else's digest of the same bytes
}

}  // namespace
}  // namespace syncropy

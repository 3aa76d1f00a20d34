#include "util/digest.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

// FIPS 180-4, the examples of NIST.
TEST(Digest, KnownAnswers) {
  EXPECT_EQ(to_hex(digest_of("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(digest_of("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Digest, AHoleIsItsZeros) {
  Hasher hasher;
  hasher.update("a");
  hasher.update_zeros(200'000);
  hasher.update("b");
  EXPECT_EQ(hasher.finish(), digest_of("a" + std::string(200'000, '\0') + "b"));
  EXPECT_EQ(hasher.finish(), digest_of("")) << "finish starts anew";
}

TEST(Digest, AnEndlessHoleCanBeLeft) {
  Hasher hasher;
  int calls = 0;
  EXPECT_THROW(hasher.update_zeros(UINT64_C(1) << 62, [&] { if (++calls == 3) throw 1; }), int);
  EXPECT_EQ(calls, 3);
}

TEST(Digest, HexBackAndForth) {
  const Digest digest = digest_of("x");
  EXPECT_EQ(digest_from_hex(to_hex(digest)), digest);
  EXPECT_FALSE(digest_from_hex(std::string(63, 'a')));
  EXPECT_FALSE(digest_from_hex(std::string(64, 'g')));
}

}  // namespace
}  // namespace syncropy

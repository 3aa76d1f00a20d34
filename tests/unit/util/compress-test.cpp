#include "util/compress.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

std::string unpack(std::string_view bytes, std::size_t bound) { return decompress(bytes, bound, ExitStatus::data, "a test"); }

TEST(Compress, RoundTrip) {
  const std::string text(100'000, 'x');
  const std::string packed = compress(text, 3);
  EXPECT_LT(packed.size(), 1'000U);
  EXPECT_EQ(unpack(packed, text.size()), text);
  EXPECT_EQ(unpack(compress("", 1), 0), "");
}

TEST(Compress, ABombIsRefusedBeforeItUnpacks) {
  const std::string packed = compress(std::string(64U << 20, '\0'), 19);
  EXPECT_THROW(static_cast<void>(unpack(packed, 1U << 20)), Error);
}

TEST(Compress, DamageIsRefused) {
  std::string packed = compress("some content that is long enough to be packed, packed, packed, packed", 3);
  EXPECT_THROW(static_cast<void>(unpack(packed.substr(0, packed.size() - 3), 1'000)), Error);
  EXPECT_THROW(static_cast<void>(unpack("not zstd at all", 1'000)), Error);
  EXPECT_THROW(static_cast<void>(unpack("", 1'000)), Error);
}

}  // namespace
}  // namespace syncropy

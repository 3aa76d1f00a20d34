#include "util/bytes.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

ByteReader reader(std::string_view bytes) { return {bytes, ExitStatus::protocol, "a test"}; }

TEST(Bytes, ReadsBackWhatWasWritten) {
  ByteWriter out;
  const std::uint64_t unsigned_values[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX};
  const std::int64_t signed_values[] = {0, -1, 1, INT64_MIN, INT64_MAX, -123456789};
  for (std::uint64_t value : unsigned_values) out.put_unsigned(value);
  for (std::int64_t value : signed_values) out.put_signed(value);
  out.put_string(std::string("a\0b\n", 4));
  out.put_fixed32(0xDEADBEEF);
  out.put_fixed64(0x0123456789ABCDEF);
  ByteReader in = reader(out.view());
  for (std::uint64_t value : unsigned_values) EXPECT_EQ(in.unsigned_any(), value);
  for (std::int64_t value : signed_values) EXPECT_EQ(in.signed_any(), value);
  EXPECT_EQ(in.string_at_most(4), std::string("a\0b\n", 4));
  EXPECT_EQ(in.fixed32(), 0xDEADBEEFU);
  EXPECT_EQ(in.fixed64(), 0x0123456789ABCDEFU);
  in.expect_end();
}

TEST(Bytes, RefusesWhatIsCutShortOverlongOrTooLarge) {
  EXPECT_THROW(static_cast<void>(reader("").byte()), Error);
  EXPECT_THROW(static_cast<void>(reader("\x80").unsigned_any()), Error);
  EXPECT_THROW(static_cast<void>(reader(std::string_view("\x80\x00", 2)).unsigned_any()), Error) << "a needless byte";
  EXPECT_THROW(static_cast<void>(reader("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02").unsigned_any()), Error) << "65 bits";
  EXPECT_THROW(static_cast<void>(reader("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01").unsigned_any()), Error);
  EXPECT_THROW(static_cast<void>(reader("\x05").unsigned_at_most(4)), Error);
  EXPECT_EQ(reader("\x04").unsigned_at_most(4), 4U);
  EXPECT_THROW(static_cast<void>(reader("\x05hell").string_at_most(10)), Error);
  EXPECT_THROW(static_cast<void>(reader("\x05hello").string_at_most(4)), Error);
  EXPECT_THROW(reader("x").expect_end(), Error);
}

TEST(Bytes, AnErrorNamesItsSubjectAndCarriesItsStatus) {
  try {
    static_cast<void>(reader("").byte());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::protocol);
    EXPECT_STREQ(error.what(), "a test: ends too early");
  }
}

}  // namespace
}  // namespace syncropy

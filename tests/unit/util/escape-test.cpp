#include "util/escape.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

TEST(Escape, OneLineOfValidUtf8WhateverTheName) {
  EXPECT_EQ(escape("plain name.txt"), "plain name.txt");
  EXPECT_EQ(escape("Grüße 日本 🙂"), "Grüße 日本 🙂");
  EXPECT_EQ(escape("a\nb\tc\rd\\e"), "a\\nb\\tc\\rd\\\\e");
  EXPECT_EQ(escape("\x1b[31mred\x7f"), "\\x1b[31mred\\x7f");
  EXPECT_EQ(escape("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(escape("cut \xe6\x97"), "cut \\xe6\\x97");
  EXPECT_EQ(escape("overlong \xc0\xaf"), "overlong \\xc0\\xaf");
  EXPECT_EQ(escape("surrogate \xed\xa0\x80"), "surrogate \\xed\\xa0\\x80");
  EXPECT_EQ(escape("c1 \xc2\x9b"), "c1 \\xc2\\x9b") << "CSI in one byte";
  EXPECT_EQ(escape("rtl \xe2\x80\xae"), "rtl \\xe2\\x80\\xae") << "a name that reads backwards";
}

TEST(Escape, AsJsonItReadsBackAsWhatIsShown) {
  EXPECT_EQ(json_text("say \"a\\b\"\n"), R"("say \"a\\\\b\"\\n")");
  EXPECT_EQ(json_text(""), R"("")");
}

}  // namespace
}  // namespace syncropy

#include "model/capability.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

std::string words(std::initializer_list<std::uint32_t> values) {
  std::string bytes;
  for (std::uint32_t value : values)
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

// As `getfattr -n security.capability` shows them after setcap(8), and as getcap(8) does.
TEST(Capability, reads_as_getcap_shows_it) {
  EXPECT_EQ(capability_text(words({0x02000001, 1U << 13, 0, 0, 0})), "cap_net_raw=ep");
  EXPECT_EQ(capability_text(words({0x02000000, 1U << 13, 0, 0, 0})), "cap_net_raw=p");
  EXPECT_EQ(capability_text(words({0x02000001, (1U << 10) | (1U << 13), 0, 0, 0})), "cap_net_bind_service,cap_net_raw=ep");
  EXPECT_EQ(capability_text(words({0x02000001, 0, 0, 1U << (39 - 32), 0})), "cap_bpf=ep");
  EXPECT_EQ(capability_text(words({0x01000001, 1U << 13, 1U << 13})), "cap_net_raw=eip");
}

TEST(Capability, names_the_root_of_a_user_namespace) {
  EXPECT_EQ(capability_text(words({0x03000001, 1U << 13, 0, 0, 0, 100'000})), "cap_net_raw=ep [rootid=100000]");
  EXPECT_EQ(capability_text(words({0x03000001, 1U << 13, 0, 0, 0, 0})), "cap_net_raw=ep");
}

TEST(Capability, shows_the_bytes_of_what_it_does_not_know) {
  EXPECT_EQ(capability_text(""), "0x");
  EXPECT_EQ(capability_text("\x01\x02"), "0x0102");
  EXPECT_EQ(capability_text(words({0x02000001, 1U << 13, 0, 0})), "0x01000002002000000000000000000000");
  EXPECT_EQ(capability_text(words({0x04000001, 0, 0, 0, 0})), "0x0100000400000000000000000000000000000000");
}

}  // namespace
}  // namespace syncropy

#include "enrol/client.hpp"

#include <gtest/gtest.h>

#include "util/error.hpp"

namespace syncropy {
namespace {

std::string host_and_port(std::string_view text) {
  const ServiceAddress address = parse_service_address(text);
  return address.host + " " + std::to_string(address.port);
}

TEST(ServiceAddress, IsWhatPeopleWrite) {
  EXPECT_EQ(host_and_port("backup.test"), "backup.test 4446");
  EXPECT_EQ(host_and_port("backup.test:5000"), "backup.test 5000");
  EXPECT_EQ(host_and_port("192.0.2.1:1"), "192.0.2.1 1");
  EXPECT_EQ(host_and_port("2001:db8::1"), "2001:db8::1 4446");
  EXPECT_EQ(host_and_port("[2001:db8::1]"), "2001:db8::1 4446");
  EXPECT_EQ(host_and_port("[2001:db8::1]:65535"), "2001:db8::1 65535");
  for (const char* text : {"backup.test", "backup.test:5000", "2001:db8::1", "[2001:db8::1]:65535"}) EXPECT_EQ(host_and_port(format_service_address(parse_service_address(text))), host_and_port(text));
}

TEST(ServiceAddress, IsNothingElse) {
  for (const char* text : {"", ":", ":4446", "host:", "host:0", "host:65536", "host:1x", "[::1", "[::1]x", "[::1]:", "a b", "a\nb", "-x", "/run/socket", "host:1:2", "http:host/x"}) {
    try {
      static_cast<void>(parse_service_address(text));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::usage);
      EXPECT_EQ(error.line().find('\n'), std::string::npos);
    }
  }
}

TEST(Renewal, IsDueWhenAThirdIsLeft) {
  EXPECT_FALSE(is_due(0, 300, 199));
  EXPECT_FALSE(is_due(0, 300, 200));
  EXPECT_TRUE(is_due(0, 300, 201));
  EXPECT_TRUE(is_due(0, 300, 301));
}

}  // namespace
}  // namespace syncropy

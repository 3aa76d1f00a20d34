#include "agent/session.hpp"

#include <gtest/gtest.h>

namespace syncropy {
namespace {

// A pinned certificate needs no name, and logs, status and commands want one.
TEST(Session, EveryServerIsCalledSomething) {
  PeerIdentity peer;
  peer.fingerprint.fill(0xAB);
  EXPECT_TRUE(name_of(peer).starts_with("SHA-256 abababab"));
  peer.names = {""};
  EXPECT_TRUE(name_of(peer).starts_with("SHA-256 abababab"));
  peer.names = {"backup1", "backup2"};
  EXPECT_EQ(name_of(peer), "backup1");
  peer = {};
  peer.plain = "loopback";
  EXPECT_EQ(name_of(peer), "loopback");
}

}  // namespace
}  // namespace syncropy

#include "sd/inhibit.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "tests/support/scratch.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

Fd listen_at(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(fd.get(), 8), 0);
  return fd;
}

bool has_ended(const Fd& connection) {
  pollfd readable{connection.get(), POLLIN, 0};
  char byte = 0;
  return ::poll(&readable, 1, 0) == 1 && ::read(connection.get(), &byte, 1) == 0;
}

TEST(Inhibitor, IsOneConnectionAsLongAsAnyLives) {
  const Scratch scratch;
  const std::string path = scratch.path() + "/socket";
  const Fd listener = listen_at(path);
  Fd connection;
  {
    std::optional<Inhibitor> first(path);
    connection = Fd(::accept(listener.get(), nullptr, nullptr));
    ASSERT_TRUE(connection);
    EXPECT_EQ(Inhibitor::why_not(), "");
    const Inhibitor second(path);
    EXPECT_EQ(::accept(listener.get(), nullptr, nullptr), -1);
    first.reset();
    EXPECT_FALSE(has_ended(connection));
  }
  EXPECT_TRUE(has_ended(connection));
  const Inhibitor again(path);
  EXPECT_TRUE(Fd(::accept(listener.get(), nullptr, nullptr)));
}

TEST(Inhibitor, ANobodyWhoListensIsNoFailure) {
  const Scratch scratch;
  const Inhibitor inhibitor(scratch.path() + "/socket");
  EXPECT_EQ(Inhibitor::why_not(), std::strerror(ENOENT));
}

}  // namespace
}  // namespace syncropy

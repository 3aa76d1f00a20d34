#include "transport/socket.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test-keys.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

std::uint16_t port_of(const Fd& listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  EXPECT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

Error failure_of(auto call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ExitStatus::success, "nothing was thrown");
}

Socket accept_soon(const Fd& listener) {
  for (int i = 0; i < 1'000; ++i) {
    if (Socket socket = accept_from(listener.get()); socket.fd) return socket;
    ::usleep(1'000);
  }
  return {};
}

TEST(Socket, ConnectsOverLoopbackAndSaysSo) {
  const std::vector<Fd> listeners = listen_on("127.0.0.1", 0);
  ASSERT_EQ(listeners.size(), 1U);
  const Socket client = connect_to("127.0.0.1", port_of(listeners[0]), 5);
  const Socket server = accept_soon(listeners[0]);
  ASSERT_TRUE(server.fd);
  EXPECT_TRUE(client.local);
  EXPECT_TRUE(server.local);
  EXPECT_EQ(client.peer, "127.0.0.1 port " + std::to_string(port_of(listeners[0])));
  EXPECT_TRUE(server.peer.starts_with("127.0.0.1 port ")) << server.peer;
  ASSERT_EQ(::write(client.fd.get(), "x", 1), 1);
}

TEST(Socket, ResolvesNames) {
  const std::vector<Fd> listeners = listen_on("127.0.0.1", 0);
  EXPECT_TRUE(connect_to("localhost", port_of(listeners[0]), 5).fd);
}

TEST(Socket, AcceptWithNobodyThereGivesNone) {
  const std::vector<Fd> listeners = listen_on("127.0.0.1", 0);
  EXPECT_FALSE(accept_from(listeners[0].get()).fd);
}

TEST(Socket, ListensOnEveryAddressWithoutOne) {
  std::uint16_t port = 0;
  {
    const std::vector<Fd> probe = listen_on("127.0.0.1", 0);
    port = port_of(probe[0]);
  }
  const std::vector<Fd> listeners = listen_on("", port);
  EXPECT_GE(listeners.size(), 1U);
  EXPECT_TRUE(connect_to("127.0.0.1", port, 5).fd);
}

TEST(Socket, AgentThatDoesNotListenIsNamedWithTheUnitToStart) {
  std::uint16_t port = 0;
  {
    const std::vector<Fd> probe = listen_on("127.0.0.1", 0);
    port = port_of(probe[0]);
  }
  const Error error = failure_of([&] { static_cast<void>(connect_to("127.0.0.1", port, 5)); });
  EXPECT_EQ(error.status(), ExitStatus::unavailable);
  EXPECT_EQ(std::string(error.what()), "cannot connect to 127.0.0.1 port " + std::to_string(port) + " (Connection refused)");
  EXPECT_NE(error.remedy().find("systemctl enable --now syncropy-agent.socket"), std::string::npos) << error.remedy();
}

TEST(Socket, UnknownNameIsToldApart) {
  const Error error = failure_of([] { static_cast<void>(connect_to("no such host.invalid", 4444, 5)); });
  EXPECT_EQ(error.status(), ExitStatus::unavailable);
  EXPECT_NE(std::string(error.what()).find("cannot find the address of 'no such host.invalid'"), std::string::npos) << error.what();
}

TEST(Socket, PortInUseIsToldApart) {
  const std::vector<Fd> listeners = listen_on("127.0.0.1", 0);
  const Error error = failure_of([&] { static_cast<void>(listen_on("127.0.0.1", port_of(listeners[0]))); });
  EXPECT_EQ(error.status(), ExitStatus::unavailable);
  EXPECT_NE(error.remedy().find("another program listens there"), std::string::npos) << error.line();
}

TEST(Socket, UnixSocketIsItsOwnersAloneAndAStaleOneIsReplaced) {
  const TestKeys folder;
  const std::string path = folder.path("agent.socket");
  { const std::vector<Fd> left_behind = listen_on(path, 0); }
  const std::vector<Fd> listeners = listen_on(path, 0);
  struct stat st{};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  const Socket client = connect_to(path, 0, 5);
  const Socket server = accept_soon(listeners[0]);
  ASSERT_TRUE(server.fd);
  EXPECT_EQ(client.peer, "unix socket " + path);
  EXPECT_EQ(server.peer, "unix socket " + path);
  EXPECT_TRUE(server.local);
  // One that is alive is not taken over.
  EXPECT_EQ(failure_of([&] { static_cast<void>(listen_on(path, 0)); }).status(), ExitStatus::unavailable);
}

TEST(Socket, UnixSocketThatIsMissingOrTooLong) {
  EXPECT_EQ(failure_of([] { static_cast<void>(connect_to("/nowhere/agent.socket", 0, 5)); }).status(), ExitStatus::unavailable);
  EXPECT_EQ(failure_of([] { static_cast<void>(connect_to("/" + std::string(200, 'x'), 0, 5)); }).status(), ExitStatus::unavailable);
}

TEST(Socket, AddressThatSwallowsEverythingEndsWithTheTimeout) {
  // A listener whose queue is full answers no further handshake.
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  std::vector<Socket> queued;
  Error error(ExitStatus::success, "every connection was taken");
  for (int i = 0; i < 8 && error.status() == ExitStatus::success; ++i)
    error = failure_of([&] { queued.push_back(connect_to("127.0.0.1", port_of(listener), 1)); });
  EXPECT_EQ(error.status(), ExitStatus::unavailable);
  EXPECT_NE(std::string(error.what()).find("timed out"), std::string::npos) << error.what();
}

}  // namespace
}  // namespace syncropy

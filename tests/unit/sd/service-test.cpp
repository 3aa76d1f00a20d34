#include "sd/service.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>

#include "util/error.hpp"

namespace syncropy {
namespace {

// sd_notify and the limits on it look at the process: each test has one of its own. `body` returns 0 for good.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class Manager {
 public:
  Manager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ + "/notify";
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~Manager() {
    ::unsetenv("NOTIFY_SOCKET");
    std::filesystem::remove_all(folder_);
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;
  std::string heard() {
    std::string all;
    char buffer[1'024];
    for (ssize_t got; (got = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0;) all.append(buffer, static_cast<std::size_t>(got)).append("|");
    return all;
  }

 private:
  std::string folder_ = (std::filesystem::temp_directory_path() / "syncropy-sd-XXXXXX").string();
  Fd socket_;
};

TEST(Notify, SystemdHearsWhatIsSaid) {
  Manager manager;
  EXPECT_EQ(in_child([] {
              notify_ready();
              notify_status("serving 1 connections");
              notify_status("serving 1 connections");
              notify_progress(300);
              notify_progress(300);
              notify_stopping();
              return 0;
            }),
            0);
  EXPECT_EQ(manager.heard(), "READY=1|STATUS=serving 1 connections|EXTEND_TIMEOUT_USEC=300000000|STOPPING=1|");
}

TEST(Notify, StatusIsLimited) {
  Manager manager;
  EXPECT_EQ(in_child([] {
              for (int i = 0; i < 1'000; ++i) notify_status(std::to_string(i));
              return 0;
            }),
            0);
  EXPECT_EQ(manager.heard(), "STATUS=0|STATUS=1|STATUS=2|STATUS=3|STATUS=4|");
}

TEST(Notify, NothingWithoutASocket) {
  notify_ready();
  notify_status("x");
  notify_progress(1);
  notify_stopping();
}

// Hands `fd` over as systemd does, and runs `body` there.
int activated(const Fd& fd, const std::function<int()>& body) {
  return in_child([&] {
    ::dup2(fd.get(), 3);
    ::setenv("LISTEN_FDS", "1", 1);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    return body();
  });
}

TEST(ListenSockets, TakesAListeningSocket) {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  EXPECT_EQ(activated(socket,
                      [] {
                        const std::vector<Fd> sockets = take_sockets().listeners;
                        if (sockets.size() != 1 || sockets[0].get() != 3) return 1;
                        if ((::fcntl(3, F_GETFL) & O_NONBLOCK) == 0 || (::fcntl(3, F_GETFD) & FD_CLOEXEC) == 0) return 2;
                        return take_sockets().listeners.empty() ? 0 : 3;
                      }),
            0);
}

TEST(ListenSockets, RefusesWhatIsNone) {
  const Fd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd datagram(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const Fd not_listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (const Fd* fd : {&file, &datagram, &not_listening})
    EXPECT_EQ(activated(*fd,
                        [] {
                          try {
                            return take_sockets().listeners.empty() ? 1 : 2;
                          } catch (const Error& error) {
                            return error.status() == ExitStatus::usage ? 0 : 3;
                          }
                        }),
              0);
}

TEST(ListenSockets, NoneWithoutActivation) { EXPECT_TRUE(take_sockets().listeners.empty()); }

}  // namespace
}  // namespace syncropy

#include "sd/inhibit.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "util/fd.hpp"

namespace syncropy {
namespace {

struct Held {
  std::mutex mutex;
  unsigned users = 0;
  Fd connection;
  int code = 0;
};

Held& held() {
  static Held one;
  return one;
}

// Without waiting: a backup is not to hang on this.
int connect_to(const std::string& path, Fd& connection) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return errno;
  connection = std::move(fd);
  return 0;
}

}  // namespace

Inhibitor::Inhibitor(const std::string& socket) noexcept {
  Held& one = held();
  const std::lock_guard lock(one.mutex);
  if (one.users++ == 0) one.code = connect_to(socket, one.connection);
}

Inhibitor::~Inhibitor() {
  Held& one = held();
  const std::lock_guard lock(one.mutex);
  if (--one.users == 0) one.connection.reset();
}

std::string Inhibitor::why_not() {
  Held& one = held();
  const std::lock_guard lock(one.mutex);
  return one.code == 0 ? std::string() : std::strerror(one.code);
}

}  // namespace syncropy

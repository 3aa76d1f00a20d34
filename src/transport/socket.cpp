#include "transport/socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>

#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;
using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

constexpr int backlog = 4'096;  // as systemd: a burst of strangers must not make a good peer send its first packet again, a second later

bool is_path(const std::string& host) { return host.starts_with('/'); }

std::string describe_target(const std::string& host, std::uint16_t port) {
  return is_path(host) ? "unix socket " + host : host + " port " + std::to_string(port);
}

std::string agent_remedy(const std::string& host) {
  if (is_path(host)) return "start the agent that listens there, and check 'host' in the config";
  return "on " + escape(host) + ": systemctl enable --now syncropy-agent.socket, open the port in its firewall; and check 'host' and 'port' in the config";
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw Error(ExitStatus::unavailable, "the path of the unix socket " + escape(path) + " is longer than " + std::to_string(sizeof address.sun_path - 1) + " bytes",
                "choose a shorter one");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

bool is_loopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET)
    return (ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24) == 127;
  if (address.ss_family != AF_INET6) return address.ss_family == AF_UNIX;
  const in6_addr& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
}

std::string describe(const sockaddr_storage& address, socklen_t size) {
  if (address.ss_family == AF_UNIX) {
    const auto& local = reinterpret_cast<const sockaddr_un&>(address);
    const std::size_t start = offsetof(sockaddr_un, sun_path);
    return size > start && local.sun_path[0] != '\0' ? "unix socket " + escape(std::string_view(local.sun_path, ::strnlen(local.sun_path, size - start))) : "unix socket";
  }
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) return "unknown address";
  std::string_view shown = host;
  if (shown.starts_with("::ffff:") && shown.find('.') != std::string_view::npos) shown.remove_prefix(7);
  return std::string(shown) + " port " + port;
}

void tune(int fd, int family) {
  if (family == AF_UNIX) return;
  const int on = 1;
  // Neither is worth failing for.
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

Addresses resolve(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  // RFC 6761: localhost is loopback whatever the resolver says, and a bare machine has no /etc/hosts that says it.
  const bool loopback = host == "localhost";
  if (loopback) hints.ai_flags &= ~AI_PASSIVE;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(host.empty() || loopback ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0) {
    const bool later = code == EAI_AGAIN;
    throw Error(ExitStatus::unavailable, "cannot find the address of '" + escape(host) + "' (" + (code == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(code)) + ")",
                later ? "the name server does not answer: check /etc/resolv.conf and the network, then run again"
                      : "check the spelling of the name, the DNS and /etc/hosts, or give an address instead");
  }
  return Addresses(found, &::freeaddrinfo);
}

// Zero, or the errno of the failure.
int connect_within(int fd, const sockaddr* address, socklen_t size, Clock::time_point deadline) {
  if (::connect(fd, address, size) == 0) return 0;
  if (errno != EINPROGRESS && errno != EINTR) return errno;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return ETIMEDOUT;
    pollfd ready{fd, POLLOUT, 0};
    const int count = ::poll(&ready, 1, static_cast<int>(left));
    if (count < 0 && errno != EINTR) return errno;
    if (count <= 0) continue;
    int code = 0;
    socklen_t length = sizeof code;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) == 0 ? code : errno;
  }
}

Fd stream_socket(int family) { return Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

Socket connect_unix(const std::string& path) {
  const sockaddr_un address = unix_address(path);
  Fd fd = stream_socket(AF_UNIX);
  if (!fd) throw_errno(ExitStatus::unavailable, "make", "a unix socket");
  // Connecting to a unix socket does not wait, except for room in the listener's queue: EAGAIN then.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw_errno(ExitStatus::unavailable, "connect to", describe_target(path, 0), agent_remedy(path));
  return {std::move(fd), "unix socket " + escape(path), true};
}

// A socket file that nobody listens on is left from a process that ended; one that answers is not ours to take.
void remove_stale(const sockaddr_un& address) {
  const Fd probe = stream_socket(AF_UNIX);
  if (probe && ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED) ::unlink(address.sun_path);
}

Fd listen_unix(const std::string& path) {
  const sockaddr_un address = unix_address(path);
  remove_stale(address);
  Fd fd = stream_socket(AF_UNIX);
  // On Linux the mode of the socket before bind(2) is that of the file it makes: there is no moment at which others may connect.
  if (!fd || ::fchmod(fd.get(), 0600) != 0 || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(fd.get(), backlog) != 0)
    throw_errno(ExitStatus::unavailable, "listen on", describe_target(path, 0), "check that its folder exists and is writable, and that no other agent listens there");
  return fd;
}

Fd listen_inet(const addrinfo& address) {
  Fd fd = stream_socket(address.ai_family);
  const int on = 1;
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return Fd();
  if (address.ai_family == AF_INET6 && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) return Fd();
  if (::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(fd.get(), backlog) != 0) return Fd();
  return fd;
}

}  // namespace

Socket connect_to(const std::string& host, std::uint16_t port, unsigned timeout_seconds) {
  if (is_path(host)) return connect_unix(host);
  const Addresses addresses = resolve(host, port, AI_ADDRCONFIG);
  long left = 0;
  for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) ++left;
  const auto deadline = Clock::now() + std::chrono::seconds(timeout_seconds);
  int code = EADDRNOTAVAIL;
  for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next, --left) {
    // An even share of what is left: an address that swallows everything leaves time for the others.
    const auto share = (deadline - Clock::now()) / left;
    Fd fd = stream_socket(each->ai_family);
    code = fd ? connect_within(fd.get(), each->ai_addr, each->ai_addrlen, Clock::now() + share) : errno;
    if (code != 0) continue;
    tune(fd.get(), each->ai_family);
    sockaddr_storage address{};
    std::memcpy(&address, each->ai_addr, each->ai_addrlen);
    return {std::move(fd), describe(address, each->ai_addrlen), is_loopback(address)};
  }
  throw SystemError(ExitStatus::unavailable, code, "connect to", describe_target(host, port), agent_remedy(host));
}

std::vector<Fd> listen_on(const std::string& address, std::uint16_t port) {
  std::vector<Fd> listeners;
  if (is_path(address)) {
    listeners.push_back(listen_unix(address));
    return listeners;
  }
  const Addresses addresses = resolve(address, port, AI_PASSIVE);
  int code = EADDRNOTAVAIL;
  for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) {
    Fd fd = listen_inet(*each);
    if (!fd) code = errno;
    // A machine without IPv6 (or IPv4) listens on what it has; a port that is taken is an error even so.
    if (!fd && (code == EADDRINUSE || code == EACCES)) break;
    if (fd) {
      listeners.push_back(std::move(fd));
      code = 0;
    }
  }
  if (listeners.empty() || code == EADDRINUSE || code == EACCES)
    throw SystemError(ExitStatus::unavailable, code, "listen on", describe_target(address.empty() ? "any address" : address, port),
                      code == EADDRINUSE ? "another program listens there: choose another port with -p, or stop it (syncropy-agent.socket holds the agent's port)"
                                         : "choose an address of this machine, and a port above 1023 unless you are root");
  return listeners;
}

Socket accept_from(int listener) {
  Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) {
    // Anything else is the connection's own failure (accept(2), "Error handling").
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM || errno == EBADF || errno == EINVAL || errno == ENOTSOCK)
      throw_errno(ExitStatus::unavailable, "accept", "a connection", "raise the limits of the agent's unit (LimitNOFILE=)");
    return {};
  }
  return adopt_connection(std::move(fd));
}

Socket adopt_connection(Fd fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};  // gone already
  // The client's end of a unix socket has no name: ours has.
  if (address.ss_family == AF_UNIX) {
    size = sizeof address;
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) size = 0;
  }
  tune(fd.get(), address.ss_family);
  return {std::move(fd), describe(address, size), is_loopback(address)};
}

std::pair<Socket, Socket> socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) throw_errno(ExitStatus::unavailable, "make", "a pair of sockets");
  return {Socket{Fd(ends[0]), "unix socket", true}, Socket{Fd(ends[1]), "unix socket", true}};
}

}  // namespace syncropy

#pragma once
// TCP and AF_UNIX sockets by name.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "util/fd.hpp"

namespace syncropy {

struct Socket {
  Fd fd;
  std::string peer;        // "192.0.2.7 port 4444", "unix socket /run/x": for messages, escaped
  bool local = false;      // loopback address or AF_UNIX
};

// `host`: a name, an address, or an absolute path (AF_UNIX; port unused). Tries every address of a name. Throws Error:
// unavailable (unknown name, refused, unreachable, no answer within `timeout_seconds` over all addresses) with a remedy that
// names the agent's socket unit. TCP_NODELAY and keepalive are set. How long a name takes to resolve is the resolver's affair.
[[nodiscard]] Socket connect_to(const std::string& host, std::uint16_t port, unsigned timeout_seconds);

// Listening sockets, non-blocking, for `syncropy-agent -p PORT [-l ADDRESS]`: without an address, all (IPv6 and IPv4). A path is
// AF_UNIX, open to its owner alone; a socket left there that nobody listens on is replaced. Throws Error(unavailable).
[[nodiscard]] std::vector<Fd> listen_on(const std::string& address, std::uint16_t port);

// Accepts one connection from a listening socket that is readable; an empty fd where the peer is gone already. Throws
// SystemError(unavailable) when this machine cannot take it (out of descriptors).
[[nodiscard]] Socket accept_from(int listener);

// A connection that somebody else accepted.
[[nodiscard]] Socket adopt_connection(Fd fd);

// Two ends of one connection within this process (AF_UNIX): for tests.
[[nodiscard]] std::pair<Socket, Socket> socket_pair();

}  // namespace syncropy

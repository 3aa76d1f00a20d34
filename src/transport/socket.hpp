#pragma once
// TCP and AF_UNIX sockets by name.

#include <cstdint>
#include <string>
#include <vector>

#include "util/fd.hpp"

namespace syncropy {

struct Socket {
  Fd fd;
  std::string peer;        // "192.0.2.7 port 4444", "unix socket /run/x": for messages
  bool local = false;      // loopback address or AF_UNIX
};

// `host`: a name, an address, or an absolute path (AF_UNIX; port unused). Tries every address of a name. Throws Error:
// unavailable (unknown name, refused, unreachable, no answer within `timeout_seconds`) with a remedy that names the
// agent's socket unit. TCP_NODELAY and keepalive are set.
[[nodiscard]] Socket connect_to(const std::string& host, std::uint16_t port, unsigned timeout_seconds);

// Listening sockets for `syncropy-agent -p PORT [-l ADDRESS]`: without an address, all (IPv6 and IPv4). A path is AF_UNIX.
[[nodiscard]] std::vector<Fd> listen_on(const std::string& address, std::uint16_t port);

// Accepts one connection from a listening socket that is readable; an empty fd where the peer is gone already.
[[nodiscard]] Socket accept_from(int listener);

}  // namespace syncropy

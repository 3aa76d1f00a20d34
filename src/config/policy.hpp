#pragma once
// What the agent allows: its own root-owned file (syncropy-agent.yaml(5)), never the server's word.

#include <cstdint>
#include <string>
#include <vector>

namespace syncropy {

// A loopback port is open to every user of the client, who would read with the agent's privilege: so not by default.
enum class PlainPolicy { none, loopback, any };

enum class CommandPolicy { none, named, any };

struct AgentPolicy {
  std::string file;                       // where this came from; empty: from the command line
  std::string ssl_certificate, ssl_key;   // PEM
  std::string ssl_password;
  std::string ssl_ca;                     // private CA that signs servers; empty: only pins
  std::vector<std::string> servers;       // with ssl_ca: DNS names or common names that may connect; none listed, none may
  std::vector<std::string> pins;          // PEM files of accepted server certificates
  PlainPolicy plain = PlainPolicy::none;  // key `plain`: connections without TLS that are taken; AF_UNIX always is
  std::vector<std::string> read{"/"};     // absolute folders or files that may be read
  std::vector<std::string> deny;          // absolute; left out of every listing and never read
  CommandPolicy commands = CommandPolicy::named;
  std::string hooks_folder = "/etc/syncropy/hooks.d";
  unsigned connections = 64;              // served at once, 1 to 1,024
  unsigned idle_exit = 75;                // seconds without a connection until a socket-activated agent ends; 0: never
  unsigned stall_timeout = 120;           // seconds without a byte from the server
};

// Reads and checks FILE like load_server_settings does; besides, FILE must belong to root or the calling user and be
// writable by nobody else (ExitStatus::refused otherwise).
[[nodiscard]] AgentPolicy load_agent_policy(const std::string& file);

}  // namespace syncropy

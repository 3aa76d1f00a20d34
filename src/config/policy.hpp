#pragma once
// What the agent allows: its own root-owned file (syncropy-agent.yaml(5)), never the server's word.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace syncropy {

// A loopback port is open to every user of the client, who would read with the agent's privilege: so not by default.
enum class PlainPolicy { none, loopback, any };

enum class CommandPolicy { none, named, any };

enum class CommandUser { agent, root };

// What becomes of a command when the connection it runs for is cut.
enum class CutPolicy { end, finish };

struct AgentPolicy {
  std::string file;                       // where this came from; empty: from the command line
  std::string ssl_certificate, ssl_key;   // keys `sslcert`, `sslkey`, `sslpem`: PEM; both or none
  std::string ssl_password;               // key `sslpass`
  std::string ssl_ca;                     // key `sslca`: private CA that signs servers; empty: only pins
  std::string ssl_revoked;                // key `sslcrl`: what the CA has revoked; default: beside ssl_ca, where it is; empty: none
  std::vector<std::string> servers;       // with ssl_ca: DNS names or common names that may connect; none listed, none may
  std::vector<std::string> pins;          // key `sslpin`: PEM files of accepted server certificates; without CA: ssl_certificate itself
  PlainPolicy plain = PlainPolicy::none;  // key `plain`: connections without TLS that are taken; AF_UNIX always is
  std::vector<std::string> read{"/"};     // absolute folders or files that may be read
  // Absolute; left out of every listing and never read. Always among them: what systemd has decrypted for services, which stands on no disk.
  std::vector<std::string> deny{"/run/credentials"};
  bool restore = false;                   // key `restore`: accept | refuse; what a restore worker may do
  std::vector<std::string> restore_to{"/"};  // absolute folders that restores may write in; `deny` stays as it is
  CommandPolicy commands = CommandPolicy::named;
  CommandUser commands_as = CommandUser::agent;          // root: by syncropy-hook.socket, and only with `named`
  CutPolicy commands_if_cut = CutPolicy::end;
  std::string hook_socket = "/run/syncropy-hook.socket";  // no key: where the unit has it
  std::string hooks_folder = "/etc/syncropy/hooks.d";  // load_agent_policy: hooks.d in the folder of configurations
  unsigned connections = 64;              // served at once, 1 to 1,024
  unsigned idle_exit = 75;                // seconds without a connection until a socket-activated agent ends, to 86,400; 0: never
  unsigned stall_timeout = 120;           // seconds without a byte from the server, 1 to 86,400
};

// What it is read for: a hook worker has no TLS, and is handed none of the credentials that those keys may name.
enum class PolicyUse { connections, hooks };

// Reads and checks FILE like load_server_settings does; besides, FILE must belong to root or the calling user and be
// writable by nobody else, and nobody else may put another into its place (ExitStatus::refused otherwise).
[[nodiscard]] AgentPolicy load_agent_policy(const std::string& file, PolicyUse use = PolicyUse::connections);

// The same for a text that is at hand, whoever it belongs to.
[[nodiscard]] AgentPolicy parse_agent_policy(std::string_view text, const std::string& file, PolicyUse use = PolicyUse::connections);

}  // namespace syncropy

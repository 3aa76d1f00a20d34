#pragma once
// The agent as a daemon: accepts connections, serves each in a thread, ends when idle.

#include <functional>
#include <optional>
#include <vector>

#include "config/policy.hpp"
#include "transport/tls.hpp"
#include "util/fd.hpp"

namespace syncropy {

struct AgentSetup {
  AgentPolicy policy;
  std::optional<TlsCredentials> tls;  // none: only plain connections
  Fd connection;                      // one that is there already: it alone is served
  bool exit_when_idle = false;        // socket-activated: whoever activated us does it again
  // One connection, from its greeting to its end: serve_session, or that of a restore worker.
  std::function<void(SecuredStream&, const AgentPolicy&, const Fd& root)> serve_connection;
};

// A peer has ten seconds in all to prove who it is, and one that is refused five to take that in; when all places are taken, the oldest
// that has proved nothing makes way.
//
// Serves until SIGTERM or SIGINT (which it blocks for all threads it starts and takes itself), or until idle. Sessions under way are
// cut at a signal; an idle exit has none. Throws Error only for what ends the daemon.
void serve(std::vector<Fd> listeners, AgentSetup& setup);

}  // namespace syncropy

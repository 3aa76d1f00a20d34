#pragma once
// The agent as a daemon: accepts connections, serves each in a thread, reads its policy anew when told, ends when idle.

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "agent/connections.hpp"
#include "util/fd.hpp"

namespace syncropy {

struct AgentSetup {
  std::shared_ptr<const AgentTerms> terms;
  std::function<std::shared_ptr<const AgentTerms>()> reload;  // the same anew; throws Error where it is wrong
  Fd connection;                // one that is there already: it alone is served
  bool exit_when_idle = false;  // socket-activated: whoever activated us does it again
  ServeConnection serve_connection;
  std::chrono::milliseconds end_limit{4'500};  // of the five seconds that SIGTERM leaves
};

// Serves until SIGTERM or SIGINT (which, like SIGHUP, it blocks for all threads it starts and takes itself), or until idle. At a signal what is
// under way is cut, and this returns within the `end_limit`: what has not ended by then (a thread that a dead network filesystem holds) ends
// with the process, here and with exit status 0. An idle exit cuts nothing: it is decided while no connection is held, and nothing is accepted after
// that, so one that comes then waits in the listening socket for the next agent. Once an upgrade has put another program in place of this one, it is
// idle as soon as no connection is held: what is under way ends with the program it began with, and the next connection finds the new one.
//
// SIGHUP reads policy and certificates anew, for connections from then on. Where they are wrong, the old ones stay, and one error says so. Not every
// service manager hands credentials over anew for that: an agent with such a key that hears SIGHUP is idle as soon as no connection is held, too,
// whatever `idle_exit` says, and the next one has the new key for certain.
//
// The service manager hears READY, RELOADING and STOPPING, a status once a second while connections are served, and, where it wants one
// (WatchdogSec=), a sign of life every time round the loop that accepts. It stands for that loop and nothing else: a session that makes no progress
// is bounded by time-outs of its own, and one that waits for a filesystem is no reason to cut the others off.
//
// Throws Error only for what ends the daemon.
void serve(std::vector<Fd> listeners, AgentSetup& setup);

// For an agent that cannot serve: takes and closes the connections that wait, for so long if there are any. Left in their sockets they would
// start it again at once, time after time, until the service manager gives up the sockets (systemd.socket(5), TriggerLimitBurst=).
void turn_away(const std::vector<Fd>& listeners, std::chrono::milliseconds time = std::chrono::seconds(5)) noexcept;

}  // namespace syncropy

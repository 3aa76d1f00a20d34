#pragma once
// What a service says to systemd and what systemd hands it (sd_notify(3), sd_listen_fds(3)).

#include <chrono>
#include <optional>
#include <string_view>
#include <vector>

#include "util/fd.hpp"

namespace syncropy {

// All are no-ops where there is no NOTIFY_SOCKET, thread-safe, and do not throw.
void notify_ready() noexcept;
// `status` is one escaped line. One a second is sent in the long run, five at once; what exceeds that, or repeats the last, is dropped.
void notify_status(std::string_view status) noexcept;
void notify_stopping() noexcept;
// The configuration is being read anew, until the next notify_ready().
void notify_reloading() noexcept;
// A sign of life, for WatchdogSec=.
void notify_watchdog() noexcept;
// How often the manager wants one at the latest, with as much again to spare; none where it does not.
[[nodiscard]] std::optional<std::chrono::microseconds> watchdog_interval() noexcept;
// Progress was made: asks for `seconds` more before the start time-out (EXTEND_TIMEOUT_USEC), at most once a second.
void notify_progress(unsigned seconds) noexcept;

// Stream sockets passed by systemd or systemd-socket-activate, type-checked, close-on-exec and non-blocking: those to listen on, or
// (Accept=yes) the one connection that is to be served; neither where there are none. Takes them from the environment: a second call finds
// none. Throws Error(usage) for a descriptor that is no stream socket, and for a connection that is not alone.
struct PassedSockets {
  std::vector<Fd> listeners;
  Fd connection;
};
[[nodiscard]] PassedSockets take_sockets();

}  // namespace syncropy

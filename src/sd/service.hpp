#pragma once
// What a service says to systemd and what systemd hands it (sd_notify(3), sd_listen_fds(3), CREDENTIALS_DIRECTORY).

#include <string>
#include <string_view>
#include <vector>

#include "util/fd.hpp"

namespace syncropy {

// All are no-ops where there is no NOTIFY_SOCKET. `status` is one escaped line; at most one a second is sent.
void notify_ready();
void notify_status(std::string_view status);
void notify_stopping();
// Progress was made: asks for `seconds` more before the start time-out (EXTEND_TIMEOUT_USEC), at most once a second.
void notify_progress(unsigned seconds);

// Listening stream sockets passed by systemd or systemd-socket-activate, type-checked; none where there are none. Throws Error(usage)
// for a descriptor that is not a listening stream socket.
[[nodiscard]] std::vector<Fd> take_listen_sockets();

// The content of credential `name` (systemd.exec(5) LoadCredential=) without its final newline; throws Error(no_input) with a remedy.
[[nodiscard]] std::string read_credential(const std::string& name);

}  // namespace syncropy

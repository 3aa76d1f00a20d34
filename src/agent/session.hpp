#pragma once
// One server's connection: greeting, then whatever it asks, until it says bye.

#include <memory>
#include <string>

#include "agent/activity.hpp"
#include "config/policy.hpp"
#include "transport/tls.hpp"
#include "util/error.hpp"
#include "util/event.hpp"
#include "util/fd.hpp"

namespace syncropy {

// Serves the stream to its end. Throws Error for how it ended when that was not in order; what the server is told of it
// has been sent. Threads and commands that it starts have ended when it returns; a command gets two seconds for that once `stopping` is
// set, and the stream has been cut by then. Entries and files are counted in `activity`.
void serve_session(SecuredStream& secured, const AgentPolicy& policy, const Fd& root, Activity& activity, const Event& stopping);

// What it is called in logs and by commands: the first name in its certificate, the digest of one that has none, or, without TLS, where it
// connected from. Escaped, never empty.
[[nodiscard]] std::string name_of(const PeerIdentity& peer);

// Tells a server that it is not served, and why, in the protocol's words. Does not throw.
void refuse_session(SecuredStream& secured, const Error& why) noexcept;

}  // namespace syncropy

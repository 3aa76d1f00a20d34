#pragma once
// Pre- and post-commands on the client, as the policy allows them.

#include <functional>
#include <string>
#include <string_view>

#include "config/policy.hpp"
#include "wire/messages.hpp"

namespace syncropy {

// Runs `request.command` in a session of its own, with a clean environment (PATH, SYNCROPY_COMMAND=pre|post, SYNCROPY_RESULT=
// success|failure, SYNCROPY_SERVER), standard input from /dev/null. What it prints goes to `output` in pieces, at most
// limits::output_bytes in all. Ends it (SIGTERM, five seconds later SIGKILL, to its whole session's group) after the time-out.
// Throws Error(refused) when the policy says no: `none`, or `named` and not a plain name of a program in the hooks folder that
// root (or the agent's own user) owns and nobody else may write; Error(command) when it cannot be started.
[[nodiscard]] Ran run_command(const AgentPolicy& policy, const Run& request, const std::string& server_name,
                              const std::function<void(std::string_view)>& output);

}  // namespace syncropy

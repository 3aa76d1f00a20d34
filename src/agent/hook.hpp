#pragma once
// Hooks as root, in a domain of their own (policy `commands_as: root`): the agent asks, over syncropy-hook.socket, and a hook worker (syncropy-agent
// --hook), a process of its own for each connection, runs the program, if its own reading of the policy allows it.
//
// One connection is one command, in frames of syncropy-protocol(7): the agent says hello (its `host` is the name of the server it asks for) and
// run; the worker answers with output and ran, or with error. Both say alive. A connection that ends before ran is a cut.

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>

#include "agent/process.hpp"
#include "config/policy.hpp"
#include "transport/socket.hpp"
#include "wire/messages.hpp"

namespace syncropy {

// The agent's side, with run_command's contract. Whoever interrupts it cuts the connection; what that means the worker's policy says.
[[nodiscard]] Ran ask_hook_worker(const AgentPolicy& policy, const Run& request, const std::string& server_name, const Interruption& interruption,
                                  const std::function<void(std::string_view)>& output);

// The worker's side of one connection, to its end. `asker` (and root) may ask; who does, the kernel says. `load` reads the policy, once the asker is
// known to be one. Throws Error, of which the agent has been told, for whatever was not run: refused for a stranger and for what the policy does
// not have run as root, what `load` throws; and Error(protocol) for what is no request.
void serve_hook(Socket connection, const std::function<AgentPolicy()>& load, uid_t asker);

}  // namespace syncropy

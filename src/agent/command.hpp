#pragma once
// Pre- and post-commands on the client, as the policy allows them.

#include <functional>
#include <string>
#include <string_view>

#include "agent/process.hpp"
#include "config/policy.hpp"
#include "wire/messages.hpp"

namespace syncropy {

// Runs `request.command` by run_process with an environment of PATH, LANG, SYNCROPY_COMMAND=pre|post, SYNCROPY_RESULT=success|failure and
// SYNCROPY_SERVER, and nothing else (with `commands_as: root` the hook worker does it: agent/hook.hpp). `commands_if_cut: finish` keeps
// `interruption.cut` from ending it. Throws Error(refused) when the policy says no: `none`, or `named` and not a program that find_hook
// (agent/hook-program.hpp) finds; Error(command) when it cannot be started, or its worker not be reached.
[[nodiscard]] Ran run_command(const AgentPolicy& policy, const Run& request, const std::string& server_name, const Interruption& interruption,
                              const std::function<void(std::string_view)>& output);

// All that a command sees of its surroundings; as root also HOME, USER and LOGNAME of root.
[[nodiscard]] std::vector<std::string> command_environment(const Run& request, const std::string& server_name, bool as_root);

}  // namespace syncropy

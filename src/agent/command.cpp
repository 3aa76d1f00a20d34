#include "agent/command.hpp"

#include <unistd.h>

#include "agent/hook-program.hpp"
#include "agent/hook.hpp"
#include "util/error.hpp"

namespace syncropy {

std::vector<std::string> command_environment(const Run& request, const std::string& server_name, bool as_root) {
  const bool pre = request.kind == CommandKind::pre;
  std::vector<std::string> environment{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                                       std::string("SYNCROPY_COMMAND=") + (pre ? "pre" : "post"),
                                       std::string("SYNCROPY_RESULT=") + (pre || request.run_succeeded ? "success" : "failure"),
                                       "SYNCROPY_SERVER=" + server_name};
  if (as_root) environment.insert(environment.end(), {"HOME=/root", "USER=root", "LOGNAME=root"});
  return environment;
}

Ran run_command(const AgentPolicy& policy, const Run& request, const std::string& server_name, const Interruption& interruption,
                const std::function<void(std::string_view)>& output) {
  std::vector<std::string> arguments;
  switch (policy.commands) {
    case CommandPolicy::none: throw Error(ExitStatus::refused, "the agent's policy runs no commands", "set 'commands: named' or 'commands: any' in the agent's policy, or take the command out of the server's config");
    case CommandPolicy::named:
      if (policy.commands_as == CommandUser::root) return ask_hook_worker(policy, request, server_name, interruption, output);
      arguments = {find_hook(policy.hooks_folder, request.command, ::geteuid())};
      break;
    case CommandPolicy::any: arguments = {"/bin/sh", "-c", request.command}; break;
  }
  Interruption mine = interruption;
  if (policy.commands_if_cut == CutPolicy::finish) mine.cut = nullptr;
  return run_process(arguments, command_environment(request, server_name, false), request.timeout_seconds, mine, output);
}

}  // namespace syncropy

#include "agent/command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>

#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds term_grace{5};

bool is_hook_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

bool only_its_owner_writes(const struct stat& st) {
  return (st.st_uid == 0 || st.st_uid == ::geteuid()) && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// The program that `named` stands for.
std::string hook_program(const AgentPolicy& policy, const std::string& name) {
  const std::string remedy = "put a program of that name, owned by root and writable by root alone, into " + escape(policy.hooks_folder);
  if (!is_hook_name(name))
    throw Error(ExitStatus::refused, "the agent's policy runs named programs only, and '" + escape(name) + "' is not a plain name", "name a program in its hooks folder " + escape(policy.hooks_folder) + ", or set 'commands: any' in the agent's policy");
  const std::string path = policy.hooks_folder + "/" + name;
  struct stat folder{}, file{};
  if (::stat(policy.hooks_folder.c_str(), &folder) != 0 || ::lstat(path.c_str(), &file) != 0)
    throw SystemError(ExitStatus::refused, errno, "find the command", path, remedy);
  if (!S_ISREG(file.st_mode) || ::access(path.c_str(), X_OK) != 0)
    throw Error(ExitStatus::refused, escape(path) + " is not a program the agent may execute", remedy);
  if (!only_its_owner_writes(folder) || !only_its_owner_writes(file))
    throw Error(ExitStatus::refused, "others than root may write " + escape(path) + " or its folder", remedy);
  return path;
}

struct SpawnSetup {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnSetup() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
};

pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment, int output) {
  SpawnSetup setup;
  ::posix_spawn_file_actions_addopen(&setup.actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&setup.actions, output, 1);
  ::posix_spawn_file_actions_adddup2(&setup.actions, output, 2);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&setup.attributes, &none);
  ::posix_spawnattr_setsigdefault(&setup.attributes, &all);
  ::posix_spawnattr_setflags(&setup.attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  auto pointers = [](const std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
    out.push_back(nullptr);
    return out;
  };
  const std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
  pid_t pid = -1;
  if (const int code = ::posix_spawn(&pid, argv[0], &setup.actions, &setup.attributes, argv.data(), envp.data()); code != 0)
    throw SystemError(ExitStatus::command, code, "start", arguments[0], "make it executable on the client");
  return pid;
}

}  // namespace

Ran run_command(const AgentPolicy& policy, const Run& request, const std::string& server_name, const std::function<void(std::string_view)>& output) {
  std::vector<std::string> arguments;
  switch (policy.commands) {
    case CommandPolicy::none: throw Error(ExitStatus::refused, "the agent's policy runs no commands", "set 'commands: named' or 'commands: any' in the agent's policy, or take the command out of the server's config");
    case CommandPolicy::named: arguments = {hook_program(policy, request.command)}; break;
    case CommandPolicy::any: arguments = {"/bin/sh", "-c", request.command}; break;
  }
  const std::vector<std::string> environment{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                                             std::string("SYNCROPY_COMMAND=") + (request.kind == CommandKind::pre ? "pre" : "post"),
                                             std::string("SYNCROPY_RESULT=") + (request.kind == CommandKind::pre || request.run_succeeded ? "success" : "failure"),
                                             "SYNCROPY_SERVER=" + server_name};
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno(ExitStatus::command, "make", "a pipe");
  Fd from(ends[0]);
  Fd to(ends[1]);
  const pid_t pid = spawn(arguments, environment, to.get());
  to.reset();
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) {
    ::kill(-pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    throw_errno(ExitStatus::command, "watch", arguments[0]);
  }

  Ran result;
  std::size_t printed = 0;
  bool ended = false, asked = false;
  auto deadline = Clock::now() + std::chrono::seconds(request.timeout_seconds);
  // A descendant may keep the pipe open after the command itself has ended: its end, not the pipe's, ends the loop.
  while (!ended || from) {
    pollfd polls[2] = {{process.get(), static_cast<short>(ended ? 0 : POLLIN), 0}, {from.get(), POLLIN, 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const int ready = ::poll(polls, 2, ended ? 0 : static_cast<int>(std::clamp<long long>(left, 0, 1'000'000)));
    if (ready < 0 && errno != EINTR) throw_errno(ExitStatus::command, "wait for", arguments[0]);
    if (from && polls[1].revents != 0) {
      char buffer[4'096];
      const ssize_t got = ::read(from.get(), buffer, sizeof buffer);
      if (got <= 0) from.reset();
      else if (printed < limits::output_bytes) {
        const std::size_t take = std::min(static_cast<std::size_t>(got), limits::output_bytes - printed);
        output({buffer, take});
        printed += take;
      }
    } else if (ended) {
      from.reset();
    }
    if (!ended && (polls[0].revents & POLLIN)) ended = true;
    if (!ended && Clock::now() >= deadline) {
      ::kill(-pid, asked ? SIGKILL : SIGTERM);
      result.end = CommandEnd::timed_out;
      asked = true;
      deadline = Clock::now() + term_grace;
    }
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (result.end == CommandEnd::timed_out) return result;
  result.end = WIFEXITED(status) ? CommandEnd::exited : CommandEnd::signalled;
  result.value = static_cast<std::uint32_t>(WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  return result;
}

}  // namespace syncropy

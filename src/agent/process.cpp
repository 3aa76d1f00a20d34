#include "agent/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>

#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds term_grace{5};
constexpr std::chrono::seconds stop_grace{2};  // within the five seconds that SIGTERM gives the agent itself

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
  ::posix_spawn_file_actions_addclosefrom_np(&setup.actions, 3);
  ::posix_spawn_file_actions_addchdir_np(&setup.actions, "/");
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

// A child until it is reaped: so long its number, and that of its process group, is nobody else's.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    signal(SIGKILL);
    static_cast<void>(reap());
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void signal(int number) const { ::kill(-pid_, number); }
  int reap() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

// Ends a program in two steps. Asked once, then made to.
class Ending {
 public:
  explicit Ending(Clock::time_point deadline) : deadline_(deadline) {}
  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }
  [[nodiscard]] bool asked() const { return asked_; }
  // Asks at once, and leaves so much time; a shorter one counts even when it was asked before.
  void hurry(const Child& child, std::chrono::seconds grace) {
    if (!asked_) child.signal(SIGTERM);
    deadline_ = asked_ ? std::min(deadline_, Clock::now() + grace) : Clock::now() + grace;
    asked_ = true;
  }
  void at_deadline(const Child& child) {
    if (!asked_) return hurry(child, term_grace);
    child.signal(SIGKILL);
    deadline_ = Clock::now() + term_grace;
  }

 private:
  Clock::time_point deadline_;
  bool asked_ = false;
};

}  // namespace

Ran run_process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment, unsigned timeout_seconds,
                const Interruption& interruption, const std::function<void(std::string_view)>& output) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno(ExitStatus::command, "make", "a pipe");
  Fd from(ends[0]);
  Fd to(ends[1]);
  const pid_t pid = spawn(arguments, environment, to.get());
  Child child(pid);
  to.reset();
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) throw_errno(ExitStatus::command, "watch", arguments[0]);

  std::size_t printed = 0, late = 0;
  bool ended = false, timed_out = false, heard = true;
  Ending ending(Clock::now() + std::chrono::seconds(timeout_seconds));
  bool watches_cut = interruption.cut != nullptr, watches_stop = interruption.stopping != nullptr;
  // A descendant may keep the pipe open after the program itself has ended: its end, not the pipe's, ends the loop.
  while (!ended || from) {
    pollfd polls[] = {{ended ? -1 : process.get(), POLLIN, 0},
                      {from.get(), POLLIN, 0},
                      {watches_cut ? interruption.cut->fd() : -1, POLLIN, 0},
                      {watches_stop ? interruption.stopping->fd() : -1, POLLIN, 0}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(ending.deadline() - Clock::now()).count();
    const int ready = ::poll(polls, std::size(polls), ended ? 0 : static_cast<int>(std::clamp<long long>(left, 0, 1'000'000)));
    if (ready < 0 && errno != EINTR) throw_errno(ExitStatus::command, "wait for", arguments[0]);
    if (ready < 0) continue;
    if (from && polls[1].revents != 0) {
      char buffer[4'096];
      const ssize_t got = ::read(from.get(), buffer, sizeof buffer);
      if (ended) late += static_cast<std::size_t>(std::max<ssize_t>(got, 0));
      // What was left behind may write for ever.
      if (got <= 0 || late > limits::output_bytes) from.reset();
      else if (heard && printed < limits::output_bytes) {
        const std::size_t take = std::min(static_cast<std::size_t>(got), limits::output_bytes - printed);
        printed += take;
        try {
          output({buffer, take});
        } catch (const std::exception&) {
          heard = false;
        }
      }
    } else if (ended) {
      from.reset();
    }
    if (ended) continue;
    if (polls[0].revents & POLLIN) {
      ended = true;
      if (ending.asked()) child.signal(SIGKILL);  // the rest of its group was asked too
      continue;
    }
    if (polls[2].revents != 0) {
      watches_cut = false;
      ending.hurry(child, term_grace);
    }
    if (polls[3].revents != 0) {
      watches_stop = false;
      ending.hurry(child, stop_grace);
    }
    if (Clock::now() >= ending.deadline()) {
      timed_out = timed_out || !ending.asked();
      ending.at_deadline(child);
    }
  }
  const int status = child.reap();
  Ran result;
  result.end = timed_out ? CommandEnd::timed_out : WIFEXITED(status) ? CommandEnd::exited : CommandEnd::signalled;
  if (!timed_out) result.value = static_cast<std::uint32_t>(WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  return result;
}

}  // namespace syncropy

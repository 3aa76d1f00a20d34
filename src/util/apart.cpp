#include "util/apart.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <string>

#include "util/crash.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr int finished_status = 0, failed_status = 1;
constexpr std::size_t piece_bytes = 65'536;

[[noreturn]] void be_child(const std::function<void(const TellLine&)>& work, int out, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(failed_status);
  leave_crashes_alone();
  try {
    work([out](std::string_view line) { write_all(out, std::string(line) + "\n", "a pipe"); });
    ::_exit(finished_status);
  } catch (...) {
    ::_exit(failed_status);
  }
}

bool is_from_outside(int signal) { return signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGHUP; }

// Killed and waited for, unless that was done.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    static_cast<void>(wait());
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

}  // namespace

ApartEnd run_apart(const std::function<void(const TellLine&)>& work, const TellLine& on_line, std::chrono::milliseconds patience) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno(ExitStatus::io, "make", "a pipe");
  const Fd in(ends[0]);
  Fd out(ends[1]);
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0) throw_errno(ExitStatus::io, "make", "a process", "raise the limit of processes, or end some");
  if (pid == 0) be_child(work, out.get(), parent);
  Child child(pid);
  out.reset();
  std::string text;
  char piece[piece_bytes];
  for (;;) {
    pollfd waiting{in.get(), POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(patience.count(), INT_MAX)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return ApartEnd::silent;
    const ssize_t got = ::read(in.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(piece, static_cast<std::size_t>(got));
    for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) on_line(std::string_view(text).substr(0, end));
  }
  const int status = child.wait();
  if (WIFSIGNALED(status) && is_from_outside(WTERMSIG(status))) return ApartEnd::killed;
  return WIFEXITED(status) && WEXITSTATUS(status) == finished_status ? ApartEnd::finished : ApartEnd::crashed;
}

}  // namespace syncropy

// inject --report FILE --calls NAME,NAME,… [--at N [--upto N]] [--kill | --error NAME | --short] COMMAND [ARGUMENT…]
//
// Runs COMMAND under ptrace(2), counts the named system calls of all its threads and processes in one line, and lets something happen at call N
// (1 is the first), or at each from N up to another: the process is killed before the call is made, or the call fails, or it takes half of the
// bytes. Counting begins when a program starts whose name begins with "syncropy": what leads there (setpriv) is not counted. `create` among the
// names is each openat(2) that may make or empty a file. A filter (seccomp) picks the calls, so that all others run at full speed. A datagram goes
// whole or not at all, so half of one is never taken (glibc's getaddrinfo() would wait for ever for what netlink answers to half a question).
// `waiting` among the names leaves out calls on a file of a disk, which none interrupts.
//
// FILE gets a line "CALLS INJECTED WHERE": how many calls were counted, how many were injected, the first of these or "-": its name, and after a
// colon which file it was about, where it was about one; of one that asks for memory or a thread, which program or library wanted it. It is written
// once something was injected, too: of a command that hangs then and is killed, that is known.
// strace(1) counts for each thread by itself and so never comes to some calls; that is why this is not strace.
//
// Exit status: that of COMMAND, 128 and the signal where one ended it; 99 for a failure of this program, said in one line.

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#ifndef __x86_64__
#error "the registers are those of x86-64"
#endif

namespace {

const std::map<std::string, long> numbers = {
#define CALL(name) {#name, SYS_##name},
    CALL(openat) CALL(openat2) CALL(close) CALL(read) CALL(pread64) CALL(readv) CALL(write) CALL(pwrite64) CALL(writev) CALL(pwritev)
    CALL(mkdirat) CALL(mkdir) CALL(symlinkat) CALL(linkat) CALL(link) CALL(unlinkat) CALL(unlink) CALL(rmdir) CALL(renameat) CALL(renameat2) CALL(rename)
    CALL(ftruncate) CALL(fallocate) CALL(fsync) CALL(fdatasync) CALL(syncfs) CALL(sync_file_range) CALL(utimensat) CALL(fchmod) CALL(fchmodat)
    CALL(chmod) CALL(fchown) CALL(fchownat) CALL(flock) CALL(fcntl) CALL(copy_file_range) CALL(ioctl) CALL(getdents64) CALL(statx) CALL(newfstatat)
    CALL(fstat) CALL(statfs) CALL(fstatfs) CALL(readlinkat) CALL(lseek) CALL(fadvise64) CALL(sendto) CALL(sendmsg) CALL(recvfrom) CALL(recvmsg)
    CALL(connect) CALL(socket) CALL(accept4) CALL(poll) CALL(ppoll) CALL(mmap) CALL(mremap) CALL(brk) CALL(mprotect) CALL(clone) CALL(clone3)
    CALL(pipe2) CALL(dup) CALL(dup3) CALL(fsetxattr) CALL(fgetxattr) CALL(flistxattr) CALL(setxattr) CALL(semop) CALL(epoll_wait) CALL(eventfd2)
#undef CALL
};

const std::map<std::string, int> errors = {
#define ERROR(name) {#name, name},
    ERROR(ENOSPC) ERROR(EIO) ERROR(EDQUOT) ERROR(EMFILE) ERROR(ENFILE) ERROR(EINTR) ERROR(ENOMEM) ERROR(EAGAIN) ERROR(EROFS) ERROR(EACCES) ERROR(EPERM)
    ERROR(EMLINK) ERROR(EXDEV) ERROR(ENOENT) ERROR(EEXIST) ERROR(EINVAL) ERROR(ENOSYS) ERROR(EOPNOTSUPP) ERROR(ECONNRESET) ERROR(EPIPE) ERROR(ETIMEDOUT)
    ERROR(EBUSY) ERROR(ESTALE) ERROR(EFBIG) ERROR(ENOTEMPTY) ERROR(ENOTDIR) ERROR(ELOOP)
#undef ERROR
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "inject: %s\n", what.c_str());
  std::exit(99);
}
[[noreturn]] void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

enum class Action { count, kill, error, shorten };

struct Options {
  std::string report;
  std::map<long, std::string> calls;  // number → name
  bool only_creating = false;         // of openat
  bool only_waiting = false;          // not on a file of a disk
  long first = 0, last = 0;
  Action action = Action::count;
  int error = 0;
  char** command = nullptr;
};

Options read_options(char** argument) {
  Options options;
  auto value = [&] {
    if (!argument[1]) fail(std::string("what follows ") + argument[0] + "?");
    return std::string(*++argument);
  };
  for (++argument; *argument && (*argument)[0] == '-'; ++argument) {
    const std::string option = *argument;
    if (option == "--report") options.report = value();
    else if (option == "--at") options.first = std::stol(value()), options.last = std::max(options.first, options.last);
    else if (option == "--upto") options.last = std::stol(value());
    else if (option == "--kill") options.action = Action::kill;
    else if (option == "--short") options.action = Action::shorten;
    else if (option == "--error") {
      const auto found = errors.find(value());
      if (found == errors.end()) fail("no such error known: " + std::string(*argument));
      options.action = Action::error;
      options.error = found->second;
    }
    else if (option == "--calls") {
      std::istringstream names(value());
      for (std::string name; std::getline(names, name, ',');) {
        if (name == "waiting") {
          options.only_waiting = true;
          continue;
        }
        if (name == "create") options.only_creating = true;
        const auto found = numbers.find(name == "create" ? "openat" : name);
        if (found == numbers.end()) fail("no such call known: " + name);
        options.calls[found->second] = name;
      }
    }
    else fail("unknown option " + option);
  }
  options.command = argument;
  if (!*argument || options.report.empty() || options.calls.empty()) fail("say --report FILE, --calls NAMES and what to run");
  if (options.action != Action::count && options.first < 1) fail("say --at N");
  return options;
}

// Stops at the named calls alone; whatever else runs at full speed.
void install_filter(const Options& options) {
  std::vector<sock_filter> filter = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
                                     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                                     BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const auto& [number, name] : options.calls) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0) return;
  // Who may not administer the machine may filter what gains no privileges.
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) fail_errno("install the filter");
}

std::string status_field(pid_t task, const std::string& name) {
  std::ifstream status("/proc/" + std::to_string(task) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name + ":")) return line.substr(line.find_first_not_of(" \t", name.size() + 1));
  return {};
}

class Tracer {
 public:
  explicit Tracer(const Options& options) : options_(options) {}

  int run(pid_t main) {
    for (;;) {
      int status = 0;
      const pid_t task = ::waitpid(-1, &status, __WALL);
      if (task < 0 && errno == EINTR) continue;
      if (task < 0) fail_errno("wait");
      if (WIFEXITED(status) || WIFSIGNALED(status)) {
        if (task == main) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        continue;
      }
      const int signal = WSTOPSIG(status), event = status >> 16;
      int hand_on = 0;
      if (event == PTRACE_EVENT_SECCOMP) at_call(task);
      else if (event == PTRACE_EVENT_EXEC) at_exec(task);
      else if (event == 0) hand_on = signal;
      ::ptrace(PTRACE_CONT, task, nullptr, hand_on);
    }
  }

  void report() const {
    std::ofstream out(options_.report);
    out << calls_ << ' ' << injected_ << ' ' << (where_.empty() ? "-" : where_) << '\n';
  }

 private:
  void at_exec(pid_t task) {
    char path[PATH_MAX] = {};
    if (::readlink(("/proc/" + std::to_string(task) + "/exe").c_str(), path, sizeof path - 1) <= 0) return;
    const std::string name = std::string(path).substr(std::string(path).rfind('/') + 1);
    counts_ = counts_ || name.starts_with("syncropy");
  }

  void at_call(pid_t task) {
    if (!counts_) return;
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, task, nullptr, &registers) != 0) return;  // it was killed meanwhile
    const auto found = options_.calls.find(static_cast<long>(registers.orig_rax));
    if (found == options_.calls.end()) return;
    if (options_.only_creating && found->first == SYS_openat && !(registers.rdx & (O_CREAT | O_TRUNC))) return;
    if (options_.only_waiting && is_of_disk(task, static_cast<int>(registers.rdi))) return;
    ++calls_;
    if (options_.action == Action::count || calls_ < options_.first || calls_ > options_.last) return;
    if (options_.action == Action::shorten && (registers.rdx < 2 || is_datagram(task, static_cast<int>(registers.rdi)))) return;
    if (++injected_ == 1) {
      where_ = found->second + about(task, found->second, registers);
      if (options_.action != Action::kill) report();
    }
    switch (options_.action) {
      case Action::kill: {
        const std::string process = status_field(task, "Tgid");
        if (!process.empty()) ::kill(std::stoi(process), SIGKILL);
        return;
      }
      case Action::error:
        registers.orig_rax = static_cast<unsigned long long>(-1);  // no call
        registers.rax = static_cast<unsigned long long>(-static_cast<long long>(options_.error));
        break;
      case Action::shorten: registers.rdx /= 2; break;
      case Action::count: break;
    }
    ::ptrace(PTRACE_SETREGS, task, nullptr, &registers);
  }

  static bool is_of_disk(pid_t task, int fd) {
    struct stat st{};
    return ::stat(("/proc/" + std::to_string(task) + "/fd/" + std::to_string(fd)).c_str(), &st) == 0 && S_ISREG(st.st_mode);
  }

  // Is descriptor `fd` of the task a socket of another type than a stream?
  static bool is_datagram(pid_t task, int fd) {
    const std::string process = status_field(task, "Tgid");
    const int handle = process.empty() ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(process), 0));
    const int copy = handle < 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_getfd, handle, fd, 0));
    int type = SOCK_STREAM;
    socklen_t size = sizeof type;
    const bool is_socket = copy >= 0 && ::getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
    if (copy >= 0) ::close(copy);
    if (handle >= 0) ::close(handle);
    return is_socket && type != SOCK_STREAM;
  }

  // The first on the stack that is none of those through which everybody asks. (A word that was left there may deceive.)
  static std::string caller(pid_t task, unsigned long long stack) {
    struct Code {
      unsigned long from = 0, to = 0;
      std::string file;
    };
    const std::string of = "/proc/" + std::to_string(task);
    std::vector<Code> all;
    std::ifstream maps(of + "/maps");
    for (std::string line; std::getline(maps, line);) {
      Code code;
      char rights[5] = {};
      const std::size_t name = line.find('/');
      if (name == std::string::npos || std::sscanf(line.c_str(), "%lx-%lx %4s", &code.from, &code.to, rights) != 3 || rights[2] != 'x') continue;
      code.file = line.substr(name);
      const std::string base = code.file.substr(code.file.rfind('/') + 1);
      if (!base.starts_with("libc.") && !base.starts_with("ld-") && !base.starts_with("libstdc++") && !base.starts_with("libgcc")) all.push_back(code);
    }
    std::ifstream memory(of + "/mem", std::ios::binary);
    memory.seekg(static_cast<std::streamoff>(stack));
    unsigned long word = 0;
    for (int i = 0; i < 8'192 && memory.read(reinterpret_cast<char*>(&word), sizeof word); ++i)
      for (const Code& code : all)
        if (word > code.from && word < code.to) return code.file;
    return "the loader";
  }

  static std::string about(pid_t task, const std::string& name, const user_regs_struct& registers) {
    if (name == "mmap" || name == "mremap" || name == "brk" || name == "mprotect" || name.starts_with("clone")) return ":" + caller(task, registers.rsp);
    if (name.ends_with("poll") || name == "socket" || name == "pipe2" || name == "eventfd2") return {};
    const std::string of = "/proc/" + std::to_string(task);
    char path[PATH_MAX] = {};
    std::string text;
    if (::readlink((of + "/fd/" + std::to_string(static_cast<int>(registers.rdi))).c_str(), path, sizeof path - 1) > 0) text = path;
    const bool has_name = name == "create" || name.starts_with("openat") || name.ends_with("at") || name == "statx" || name == "utimensat" || name == "renameat2";
    if (has_name && name != "fstat") {
      std::ifstream memory(of + "/mem", std::ios::binary);
      memory.seekg(static_cast<std::streamoff>(registers.rsi));
      std::string beneath;
      for (char byte = 0; beneath.size() < PATH_MAX && memory.get(byte) && byte != 0;) beneath += byte;
      text = beneath.starts_with("/") ? beneath : text + "/" + beneath;
    }
    return text.empty() ? "" : ":" + text;
  }

  const Options& options_;
  bool counts_ = false;
  long calls_ = 0, injected_ = 0;
  std::string where_;
};

}  // namespace

int main(int, char** arguments) {
  const Options options = read_options(arguments);
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) fail_errno("pipe");
  const pid_t child = ::fork();
  if (child < 0) fail_errno("fork");
  if (child == 0) {
    char byte = 0;
    if (::read(ready[0], &byte, 1) != 1) std::exit(99);
    install_filter(options);
    ::execvp(options.command[0], options.command);
    fail_errno(std::string("run ") + options.command[0]);
  }
  constexpr long events = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (::ptrace(PTRACE_SEIZE, child, nullptr, events) != 0) fail_errno("trace the command");
  if (::write(ready[1], "", 1) != 1) fail_errno("start the command");
  Tracer tracer(options);
  const int status = tracer.run(child);
  tracer.report();
  return status;
}

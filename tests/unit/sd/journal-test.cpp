#include "sd/journal.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

// Standard error is `fd` as long as this lives.
class Redirected {
 public:
  explicit Redirected(int fd) : saved_(::dup(STDERR_FILENO)) { ::dup2(fd, STDERR_FILENO); }
  ~Redirected() {
    ::dup2(saved_.get(), STDERR_FILENO);
    open_log("test", Priority::info);
  }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;

 private:
  Fd saved_;
};

std::string drain(int fd) {
  std::string all;
  char buffer[4'096];
  pollfd readable{fd, POLLIN, 0};
  while (::poll(&readable, 1, 50) > 0 && (readable.revents & POLLIN)) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got <= 0) break;
    all.append(buffer, static_cast<std::size_t>(got));
  }
  return all;
}

std::string stderr_of(const std::function<void()>& call) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  {
    const Redirected redirected(to.get());
    call();
  }
  to.reset();
  return drain(from.get());
}

struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "syncropy-log-XXXXXX").string();
  Folder() { EXPECT_NE(::mkdtemp(path.data()), nullptr); }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

std::string content(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Journal, StandardErrorSaysProgramLevelAndMessage) {
  const std::string text = stderr_of([] {
    open_log("syncropy-server", Priority::info);
    log(Priority::info, "web1: listed");
    log(Priority::error, "web1: gone", {{"SYNCROPY_CLIENT", "web1"}}, "580dde0401654a98aeb498dcd5a672d8");
    log(Priority::notice, "worth knowing");
    log(Priority::debug, "dropped");
  });
  EXPECT_EQ(text, "syncropy-server: web1: listed\nsyncropy-server: error: web1: gone\nsyncropy-server: notice: worth knowing\n");
}

TEST(Journal, LevelMayBeChangedLater) {
  const std::string text = stderr_of([] {
    open_log("p", Priority::error);
    log(Priority::warning, "one");
    open_log("p", Priority::debug);
    log(Priority::debug, "two");
  });
  EXPECT_EQ(text, "p: debug: two\n");
}

TEST(Journal, LogFileGetsTheSameLinesWithTheirTime) {
  const Folder folder;
  const std::string file = folder.path + "/server.log";
  stderr_of([&] {
    open_log("p", Priority::info, file);
    log(Priority::warning, "first");
    open_log("p", Priority::info, file);  // appends
    log(Priority::info, "second");
    log(Priority::debug, "dropped");
  });
  const std::string text = content(file);
  ASSERT_EQ(text.size(), std::string("2026-11-22T19:05:00Z warning first\n2026-11-22T19:05:00Z info second\n").size()) << text;
  EXPECT_EQ(text.substr(10, 1), "T");
  EXPECT_NE(text.find("Z warning first\n20"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("Z info second\n")) << text;
}

TEST(Journal, LogFileThatCannotBeOpenedIsNamed) {
  try {
    open_log("p", Priority::info, "/nowhere/server.log");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::config);
    EXPECT_NE(error.line().find("/nowhere/server.log"), std::string::npos) << error.line();
    EXPECT_NE(error.line().find("log_file"), std::string::npos) << error.line();
  }
}

TEST(Journal, LinesOfManyThreadsStayWhole) {
  const Folder folder;
  const std::string file = folder.path + "/server.log";
  stderr_of([&] {
    const Fd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    const Redirected redirected(null.get());
    open_log("p", Priority::info, file);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([i] {
        for (int j = 0; j < 500; ++j) log(Priority::info, std::string(200, static_cast<char>('a' + i)));
      });
    for (std::thread& thread : threads) thread.join();
  });
  std::ifstream in(file);
  std::string line;
  int lines = 0;
  for (; std::getline(in, line); ++lines) {
    ASSERT_EQ(line.size(), 20U + 6 + 200);
    ASSERT_EQ(line.find_first_not_of(line[30], 26), std::string::npos);
  }
  EXPECT_EQ(lines, 2'000);
}

TEST(Journal, FullDiskLosesLinesAndNothingElse) {
  stderr_of([] {
    open_log("p", Priority::info, "/dev/full");
    log(Priority::error, "lost");
  });
}

// A terminal of 20 columns.
struct Terminal {
  Fd master, slave;
  Terminal() : master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    EXPECT_EQ(::grantpt(master.get()), 0);
    EXPECT_EQ(::unlockpt(master.get()), 0);
    slave = Fd(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    winsize size{};
    size.ws_col = 20;
    size.ws_row = 5;
    EXPECT_EQ(::ioctl(master.get(), TIOCSWINSZ, &size), 0);
    ::setenv("TERM", "xterm", 1);
  }
};

constexpr std::string_view begin = "\r\x1b[?7l", end = "\x1b[K\x1b[?7h", cleared = "\r\x1b[K";

TEST(Progress, LineIsCutToTheTerminalAndClearedBeforeLogLines) {
  const Terminal terminal;
  const Redirected redirected(terminal.slave.get());
  open_log("p", Priority::info);
  EXPECT_TRUE(progress_is_visible());
  show_progress("ümlaut 890123456789012345");
  EXPECT_EQ(drain(terminal.master.get()), std::string(begin) + "ümlaut 890123456789" + std::string(end));
  log(Priority::info, "x");
  EXPECT_EQ(drain(terminal.master.get()), std::string(cleared) + "p: x\r\n");
  log(Priority::info, "y");
  EXPECT_EQ(drain(terminal.master.get()), "p: y\r\n");
  show_progress("again");  // at once: the line above took it away
  EXPECT_EQ(drain(terminal.master.get()), std::string(begin) + "again" + std::string(end));
  show_progress("");
  EXPECT_EQ(drain(terminal.master.get()), cleared);
  show_progress("");
  EXPECT_EQ(drain(terminal.master.get()), "");
}

TEST(Progress, TenUpdatesASecondAtMost) {
  const Terminal terminal;
  const Redirected redirected(terminal.slave.get());
  open_log("p", Priority::info);
  for (int i = 0; i < 100; ++i) show_progress(std::to_string(i));
  EXPECT_EQ(drain(terminal.master.get()), std::string(begin) + "0" + std::string(end));
  show_progress("");
}

TEST(Progress, NothingWhereThereIsNoTerminal) {
  EXPECT_EQ(stderr_of([] {
              open_log("p", Priority::info);
              EXPECT_FALSE(progress_is_visible());
              show_progress("working");
              show_progress("");
            }),
            "");
}

// A journal of our own at its place, in a mount namespace of a child's.
int talk_to_a_journal() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return 100;
  if (user != 0) {
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << "0 " << user << " 1\n";
    std::ofstream("/proc/self/gid_map") << "0 " << group << " 1\n";
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 || ::mount("none", "/run", "tmpfs", 0, nullptr) != 0) return 101;
  std::error_code failed;
  if (!std::filesystem::create_directories("/run/systemd/journal", failed)) return 106;
  const Fd journal(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/run/systemd/journal/socket");
  if (::bind(journal.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 102;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return 103;
  const Fd from(ends[0]), to(ends[1]);
  ::dup2(to.get(), STDERR_FILENO);
  struct stat st{};
  if (::fstat(STDERR_FILENO, &st) != 0) return 104;
  ::setenv("JOURNAL_STREAM", (std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino)).c_str(), 1);
  open_log("syncropy-server", Priority::info);
  if (!logs_to_journal()) return 107;
  set_log_fields({{"SYNCROPY_CONFIG", "prod"}});
  log(Priority::error, "web1: failed", {{"SYNCROPY_CLIENT", "web1"}, {"SYNCROPY_PATH", "two\nlines"}}, "580dde0401654a98aeb498dcd5a672d8");
  char buffer[4'096];
  const ssize_t got = ::recv(journal.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (got <= 0) return 1;
  const std::string entry(buffer, static_cast<std::size_t>(got));
  for (const char* line : {"MESSAGE=web1: failed\n", "PRIORITY=3\n", "SYSLOG_IDENTIFIER=syncropy-server\n", "MESSAGE_ID=580dde0401654a98aeb498dcd5a672d8\n", "SYNCROPY_CLIENT=web1\n", "SYNCROPY_CONFIG=prod\n"})
    if (entry.find(line) == std::string::npos) return 2;
  // A value with a newline goes with its length (journal native protocol).
  if (entry.find(std::string("SYNCROPY_PATH\n\x09\0\0\0\0\0\0\0two\nlines\n", 32)) == std::string::npos) return 3;
  if (!drain(from.get()).empty()) return 4;
  // Standard error was redirected since: it is not the journal any more.
  int others[2];
  if (::pipe2(others, O_CLOEXEC) != 0) return 105;
  ::dup2(others[1], STDERR_FILENO);
  open_log("p", Priority::info);
  log(Priority::info, "plain");
  return drain(others[0]) == "p: plain\n" ? 0 : 5;
}

TEST(Journal, FieldsReachTheJournal) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(talk_to_a_journal());
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "100 and above: this kernel does not let this user have namespaces (run it as root)";
}

}  // namespace
}  // namespace syncropy

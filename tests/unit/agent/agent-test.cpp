#include "agent/agent.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <thread>

#include "sd/journal.hpp"
#include "tests/support/scratch.hpp"
#include "transport/socket.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

// serve() in a process of its own, which it takes the signals of, with a service manager that listens to it.
struct Agent : testing::Test {
  Agent() : manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)), listeners(listen_on(scratch.path() + "/socket", 0)) {
    open_log("agent-test", Priority::error);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = scratch.path() + "/notify";
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(::bind(manager.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    policy.idle_exit = 0;
    policy.stall_timeout = 5;
    // Tells which terms it has, and ends with its peer.
    setup.serve_connection = [](SecuredStream& secured, const AgentPolicy& terms, const Fd&, Activity& activity, const Event&) {
      activity.doing = "telling";
      const std::byte number{static_cast<unsigned char>(terms.stall_timeout)};
      secured.stream->write_all({&number, 1});
      std::byte ignored;
      while (secured.stream->read_some({&ignored, 1}) > 0) {}
    };
  }
  ~Agent() override {
    if (child > 0) ::kill(child, SIGKILL);
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  void start(const char* watchdog = nullptr) {
    child = ::fork();
    if (child != 0) return;
    ::setenv("NOTIFY_SOCKET", (scratch.path() + "/notify").c_str(), 1);
    if (watchdog != nullptr) ::setenv("WATCHDOG_USEC", watchdog, 1);
    auto terms = std::make_shared<AgentTerms>();
    terms->policy = policy;
    setup.terms = terms;
    try {
      serve(std::move(listeners), setup);
      ::_exit(0);
    } catch (const std::exception&) {
      ::_exit(1);
    }
  }
  // Within `limit`, what the manager hears with `text` in it; else nothing.
  std::string hears(const std::string& text, std::chrono::milliseconds limit = std::chrono::seconds(5)) {
    const auto until = Clock::now() + limit;
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
      pollfd readable{manager.get(), POLLIN, 0};
      if (left <= 0 || ::poll(&readable, 1, static_cast<int>(left)) <= 0) return {};
      char buffer[1'024];
      const ssize_t got = ::recv(manager.get(), buffer, sizeof buffer, 0);
      const std::string heard(buffer, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
      if (heard.find(text) != std::string::npos) return heard;
    }
  }
  Fd connect() { return std::move(connect_to(scratch.path() + "/socket", 0, 5).fd); }
  // The terms a new connection is served by; it stays open.
  int terms_of(const Fd& connection) {
    pollfd readable{connection.get(), POLLIN, 0};
    unsigned char number = 0;
    return ::poll(&readable, 1, 5'000) > 0 && ::recv(connection.get(), &number, 1, 0) == 1 ? number : -1;
  }
  int wait() {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    child = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int end(int signal, std::chrono::milliseconds limit) {
    const auto begun = Clock::now();
    ::kill(child, signal);
    const int status = wait();
    EXPECT_LT(Clock::now() - begun, limit);
    return status;
  }
  const Scratch scratch;
  const Fd manager;
  std::vector<Fd> listeners;
  AgentPolicy policy;
  AgentSetup setup;
  pid_t child = -1;
};

TEST_F(Agent, TellsTheManagerWhatItDoes) {
  start();
  EXPECT_EQ(hears("READY=1"), "READY=1");
  EXPECT_EQ(hears("STATUS="), "STATUS=waiting for a server");
  const Fd one = connect();
  EXPECT_EQ(terms_of(one), 5);
  EXPECT_NE(hears("STATUS=unix: telling").find("unix: telling"), std::string::npos);
  EXPECT_EQ(end(SIGTERM, std::chrono::seconds(1)), 0);
  EXPECT_EQ(hears("STOPPING=1"), "STOPPING=1");
}

TEST_F(Agent, AStatusASecondAndNoMore) {
  setup.serve_connection = [](SecuredStream& secured, const AgentPolicy&, const Fd&, Activity& activity, const Event&) {
    // As busy as can be.
    for (const auto until = Clock::now() + std::chrono::milliseconds(1'500); Clock::now() < until; std::this_thread::sleep_for(std::chrono::milliseconds(1))) ++activity.files;
    secured.stream->finish();
  };
  start();
  const Fd one = connect();
  int lines = 0;
  while (hears("STATUS=", std::chrono::milliseconds(1'100)).find("files") != std::string::npos || lines == 0) ++lines;
  EXPECT_GE(lines, 2);
  EXPECT_LE(lines, 3);
  EXPECT_EQ(end(SIGINT, std::chrono::seconds(1)), 0);
}

TEST_F(Agent, ReloadsForNewConnections) {
  // What the policy file says, and then no more.
  int said = 7;
  setup.reload = [&]() -> std::shared_ptr<const AgentTerms> {
    if (said == 9) throw Error(ExitStatus::config, "broken");
    auto terms = std::make_shared<AgentTerms>();
    terms->policy = policy;
    terms->policy.stall_timeout = static_cast<unsigned>(said);
    said = 9;
    return terms;
  };
  start();
  const Fd before = connect();
  EXPECT_EQ(terms_of(before), 5);
  ::kill(child, SIGHUP);
  const std::string reloading = hears("RELOADING=1");
  EXPECT_TRUE(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC=")) << reloading;
  EXPECT_EQ(hears("READY=1"), "READY=1");
  const Fd after = connect();
  EXPECT_EQ(terms_of(after), 7);
  ::kill(child, SIGHUP);
  EXPECT_FALSE(hears("RELOADING=1").empty());
  EXPECT_FALSE(hears("READY=1").empty()) << "also when it is refused";
  const Fd last = connect();
  EXPECT_EQ(terms_of(last), 7) << "a broken policy keeps the one before";
  // The first one is served on.
  pollfd readable{before.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&readable, 1, 0), 0);
  EXPECT_EQ(end(SIGTERM, std::chrono::seconds(1)), 0);
}

TEST_F(Agent, EndsInTimeWhateverItsThreadsDo) {
  setup.serve_connection = [](SecuredStream& secured, const AgentPolicy&, const Fd&, Activity&, const Event&) {
    const std::byte number{1};
    secured.stream->write_all({&number, 1});
    for (;;) ::pause();
  };
  EXPECT_LT(setup.end_limit, std::chrono::seconds(5));
  setup.end_limit = std::chrono::milliseconds(500);
  start();
  const Fd one = connect();
  EXPECT_EQ(terms_of(one), 1);
  EXPECT_EQ(end(SIGTERM, std::chrono::seconds(1)), 0);
}

TEST_F(Agent, SaysThatItLivesAsOftenAsItMust) {
  start("200000");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(hears("WATCHDOG=1", std::chrono::milliseconds(200)), "WATCHDOG=1");
  EXPECT_EQ(end(SIGTERM, std::chrono::seconds(1)), 0);
}

TEST_F(Agent, EndsWhenIdleAndNotBefore) {
  policy.idle_exit = 1;
  setup.exit_when_idle = true;
  start();
  {
    const Fd one = connect();
    EXPECT_EQ(terms_of(one), 5);
    EXPECT_EQ(hears("STOPPING=1", std::chrono::milliseconds(1'500)), "") << "it serves";
  }
  const auto begun = Clock::now();
  EXPECT_EQ(hears("STOPPING=1"), "STOPPING=1");
  EXPECT_GE(Clock::now() - begun, std::chrono::milliseconds(800));
  EXPECT_EQ(wait(), 0);
  // One that comes now waits for the next agent.
  const Fd waiting = connect();
  start();
  EXPECT_EQ(terms_of(waiting), 5);
  EXPECT_EQ(end(SIGTERM, std::chrono::seconds(1)), 0);
}

// An agent that cannot serve must not be started for the same connection again and again.
TEST_F(Agent, TurnsAwayWhatWaits) {
  const auto begun = Clock::now();
  turn_away(listeners);
  EXPECT_LT(Clock::now() - begun, std::chrono::milliseconds(500)) << "nothing waits";
  const Fd first = connect(), second = connect();
  std::thread late([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const Fd third = connect();
    EXPECT_EQ(terms_of(third), -1);
  });
  turn_away(listeners, std::chrono::milliseconds(1'000));
  late.join();
  EXPECT_EQ(terms_of(first), -1);
  EXPECT_EQ(terms_of(second), -1);
  EXPECT_GE(Clock::now() - begun, std::chrono::milliseconds(900));
  pollfd waits{listeners[0].get(), POLLIN, 0};
  EXPECT_EQ(::poll(&waits, 1, 0), 0);
}

}  // namespace
}  // namespace syncropy

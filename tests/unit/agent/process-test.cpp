#include "agent/process.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "tests/support/scratch.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

struct Process : testing::Test {
  Ran run(const std::string& line, unsigned seconds = 10) {
    output.clear();
    const auto begun = Clock::now();
    const Ran ran = run_process({"/bin/sh", "-c", line}, {"PATH=/usr/bin:/bin"}, seconds, {&cut, &stopping}, [this](std::string_view piece) { output += piece; });
    took = Clock::now() - begun;
    return ran;
  }
  // Whether a process that wrote its number into `name` is there.
  bool lives(const std::string& name) {
    int pid = 0;
    std::ifstream(scratch.path() + "/" + name) >> pid;
    EXPECT_GT(pid, 1);
    for (int i = 0; i < 100; ++i) {
      std::string line;
      std::ifstream status("/proc/" + std::to_string(pid) + "/stat");
      if (!std::getline(status, line) || line.find(") Z ") != std::string::npos) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ::kill(pid, SIGKILL);
    return true;
  }
  Scratch scratch;
  const Event cut, stopping;
  std::string output;
  Clock::duration took{};
};

TEST_F(Process, WhatTakesTooLongIsEndedWithItsChildren) {
  EXPECT_EQ(run("sleep 100 & echo $! >" + scratch.path() + "/child; sleep 100", 1).end, CommandEnd::timed_out);
  EXPECT_LT(took, std::chrono::seconds(8));
  EXPECT_FALSE(lives("child"));
}

// A child that does not hear SIGTERM must not outlive a parent that does.
TEST_F(Process, TheRestOfItsGroupGoesWithIt) {
  EXPECT_EQ(run("(trap '' TERM; echo $(exec sh -c 'echo $PPID') >" + scratch.path() + "/child; while :; do sleep 1; done) & wait", 1).end, CommandEnd::timed_out);
  EXPECT_LT(took, std::chrono::seconds(4));
  EXPECT_FALSE(lives("child"));
}

TEST_F(Process, ADaemonItLeavesBehindDoesNotHoldItUp) {
  EXPECT_EQ(run("sleep 30 & echo $! >" + scratch.path() + "/child; echo started", 20).end, CommandEnd::exited);
  EXPECT_LT(took, std::chrono::seconds(5));
  EXPECT_EQ(output, "started\n");
  EXPECT_TRUE(lives("child"));
  EXPECT_EQ(run("yes & echo $! >" + scratch.path() + "/child", 20).end, CommandEnd::exited) << "one that writes for ever";
  EXPECT_LT(took, std::chrono::seconds(5));
  EXPECT_FALSE(lives("child")) << "SIGPIPE";
}

TEST_F(Process, AskedFirstThenMade) {
  std::thread later([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    cut.set();
  });
  EXPECT_EQ(run("trap 'echo thawed; exit 3' TERM; sleep 100 & wait").value, 3U);
  later.join();
  EXPECT_EQ(output, "thawed\n");
  stopping.set();
  EXPECT_EQ(run("trap '' TERM; while :; do sleep 1; done", 60).end, CommandEnd::signalled);
  EXPECT_LT(took, std::chrono::seconds(4)) << "within what SIGTERM leaves the agent";
}

TEST_F(Process, NothingOfOursReachesIt) {
  const Fd secret(::open("/dev/null", O_RDONLY));  // one that forgot close-on-exec
  ASSERT_GT(secret.get(), 2);
  ::setenv("SECRET", "x", 1);
  EXPECT_EQ(run("ls /proc/self/fd | tr '\\n' ' '; pwd; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=; cat").value, 0U);
  EXPECT_EQ(output, "0 1 2 3 /\nPATH=/usr/bin:/bin\n");
}

TEST_F(Process, OutputIsBoundedAndNobodyNeedsToListen) {
  EXPECT_EQ(run("head -c 1000000 /dev/zero").value, 0U);
  EXPECT_EQ(output.size(), limits::output_bytes);
  int calls = 0;
  const Ran ran = run_process({"/bin/sh", "-c", "echo a; sleep 0.2; echo b; exit 4"}, {}, 10, {}, [&](std::string_view) {
    ++calls;
    throw std::runtime_error("gone");
  });
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(ran.value, 4U);
}

TEST_F(Process, CannotBeStarted) {
  EXPECT_THROW(static_cast<void>(run_process({"/no/such/program"}, {}, 1, {}, [](std::string_view) {})), Error);
}

}  // namespace
}  // namespace syncropy

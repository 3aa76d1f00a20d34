#include "agent/hook.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <set>
#include <sstream>
#include <thread>

#include "sd/journal.hpp"
#include "tests/support/scratch.hpp"
#include "transport/tls.hpp"
#include "util/error.hpp"
#include "wire/frame.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

AgentPolicy as_root() {
  AgentPolicy policy;
  policy.commands_as = CommandUser::root;
  policy.hooks_folder = "/usr/bin";  // belongs to root wherever tests run
  return policy;
}

// An agent in this thread and a worker in another.
struct Hook : testing::Test {
  Hook() {
    open_log("hook-test", Priority::error);
    asking.hook_socket = scratch.path() + "/socket";
    listeners = listen_on(asking.hook_socket, 0);
  }
  ~Hook() override { join(); }
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;

  void start_worker() {
    worker = std::thread([this] {
      pollfd readable{listeners[0].get(), POLLIN, 0};
      if (::poll(&readable, 1, 10'000) <= 0) return;
      try {
        serve_hook(accept_from(listeners[0].get()), [this] { return working; }, asker);
      } catch (const Error& error) {
        said = error.what();
      }
      worker_ended = Clock::now();
    });
  }
  void join() {
    if (worker.joinable()) worker.join();
  }
  Ran ask(const std::string& command, unsigned seconds = 10, CommandKind kind = CommandKind::post, bool succeeded = true) {
    output.clear();
    start_worker();
    const Ran ran = ask_hook_worker(asking, {kind, command, seconds, succeeded}, "backup.example", {&cut, &stopping}, [this](std::string_view piece) { output += piece; });
    join();
    return ran;
  }
  Error failure(const std::string& command) {
    try {
      static_cast<void>(ask(command));
    } catch (const Error& error) {
      join();
      return error;
    }
    return Error(ExitStatus::success, "nothing was thrown");
  }
  std::set<std::string> lines() const {
    std::set<std::string> all;
    std::istringstream in(output);
    for (std::string line; std::getline(in, line);) all.insert(line);
    return all;
  }
  const Scratch scratch;
  const Event cut, stopping;
  AgentPolicy asking = as_root(), working = as_root();
  uid_t asker = ::geteuid();
  std::vector<Fd> listeners;
  std::thread worker;
  std::string output, said;
  Clock::time_point worker_ended{};
};

TEST_F(Hook, OutputAndStatusComeBack) {
  const Ran ran = ask("false");
  EXPECT_EQ(ran.end, CommandEnd::exited);
  EXPECT_EQ(ran.value, 1U);
  EXPECT_EQ(ask("env").value, 0U);
  EXPECT_EQ(lines(), (std::set<std::string>{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "SYNCROPY_COMMAND=post", "SYNCROPY_RESULT=success",
                                            "SYNCROPY_SERVER=backup.example", "HOME=/root", "USER=root", "LOGNAME=root"}));
  EXPECT_EQ(ask("env", 10, CommandKind::post, false).value, 0U);
  EXPECT_TRUE(lines().contains("SYNCROPY_RESULT=failure"));
  EXPECT_EQ(said, "");
}

TEST_F(Hook, WhatTakesTooLongIsEnded) {
  const Ran ran = ask("yes", 1);
  EXPECT_EQ(ran.end, CommandEnd::timed_out);
  EXPECT_EQ(output.size(), limits::output_bytes);
}

TEST_F(Hook, WhatIsNoProgramOfTheFolderIsRefused) {
  for (const std::string name : {"/usr/bin/env", "../bin/env", "no-such-program", "env x"}) {
    const Error error = failure(name);
    EXPECT_EQ(error.status(), ExitStatus::refused) << name << ": " << error.line();
    EXPECT_FALSE(error.remedy().empty());
    EXPECT_EQ(output, "");
  }
}

// The worker believes its own policy, and not that an agent asked.
TEST_F(Hook, WhatThePolicyDoesNotHaveRunAsRootIsRefused) {
  working.commands_as = CommandUser::agent;
  EXPECT_NE(failure("env").line().find("commands_as: root"), std::string::npos);
  working = as_root();
  working.commands = CommandPolicy::none;
  EXPECT_EQ(failure("env").status(), ExitStatus::refused);
  working.commands = CommandPolicy::any;
  EXPECT_EQ(failure("env").status(), ExitStatus::refused);
  EXPECT_EQ(output, "");
}

TEST_F(Hook, AStrangerIsRefused) {
  asker = 12'345;
  if (::geteuid() == 0) {
    EXPECT_EQ(ask("true").value, 0U) << "root may always ask";
    // The kernel says who connected: the socket is handed on by somebody else.
    ASSERT_EQ(::chmod(scratch.path().c_str(), 0755), 0);
    ASSERT_EQ(::chmod(asking.hook_socket.c_str(), 0666), 0);
    start_worker();
    const pid_t child = ::fork();
    if (child == 0) {
      if (::setuid(65'534) != 0) ::_exit(3);
      try {
        static_cast<void>(ask_hook_worker(asking, {CommandKind::pre, "env", 10, true}, "x", {}, [](std::string_view) {}));
      } catch (const Error& error) {
        ::_exit(error.status() == ExitStatus::refused && std::string(error.what()).find("65534") != std::string::npos ? 0 : 1);
      }
      ::_exit(2);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    join();
    EXPECT_NE(said.find("65534"), std::string::npos);
  } else {
    EXPECT_EQ(failure("env").status(), ExitStatus::refused);
  }
}

// The agent, or its server, has gone: the hook goes too.
TEST_F(Hook, ACutEndsItUnlessItMayFinish) {
  auto cut_soon = [this](const std::string& command, unsigned seconds) {
    const Event now;
    std::thread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      now.set();
    });
    start_worker();
    EXPECT_THROW(static_cast<void>(ask_hook_worker(asking, {CommandKind::pre, command, seconds, true}, "x", {&now, nullptr}, [](std::string_view) {})), Error);
    const auto cut_at = Clock::now();
    later.join();
    join();
    return worker_ended - cut_at;
  };
  EXPECT_LT(cut_soon("yes", 60), std::chrono::seconds(2));
  working.commands_if_cut = CutPolicy::finish;
  EXPECT_GT(cut_soon("yes", 1), std::chrono::milliseconds(500)) << "it had its second";
}

TEST_F(Hook, NobodyThere) {
  asking.hook_socket += "-not";
  try {
    static_cast<void>(ask_hook_worker(asking, {CommandKind::pre, "true", 10, true}, "x", {}, [](std::string_view) {}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::command);
    EXPECT_NE(error.remedy().find("syncropy-hook.socket"), std::string::npos);
  }
}

// What an agent that somebody has taken over might say.
TEST_F(Hook, WhatIsNotARequestRunsNothing) {
  ByteWriter hello, run, other;
  put(hello, Hello{protocol_version, 0, "x", "y"});
  put(run, syncropy::Run{CommandKind::pre, "env", 10, true});
  put(other, Hello{protocol_version + 1, 0, "x", "y"});
  const std::vector<std::function<void(FrameWriter&)>> attempts{
      [&](FrameWriter& out) { out.send(MessageType::run, run.view()); },
      [&](FrameWriter& out) { out.send(MessageType::hello, other.view()); out.send(MessageType::run, run.view()); },
      [&](FrameWriter& out) { out.send(MessageType::hello, hello.view()); out.send(MessageType::bye, {}); },
      [&](FrameWriter& out) { out.send(MessageType::hello, hello.view()); out.send(MessageType::run, "\x01\xff\xff\xff\xff"); },
      [&](FrameWriter& out) { out.send(MessageType::hello, std::string(100'000, 'x')); }};
  for (const auto& attempt : attempts) {
    said.clear();
    start_worker();
    const SecuredStream stream = plain_stream(connect_to(asking.hook_socket, 0, 5), 5);
    FrameWriter out(*stream.stream);
    attempt(out);
    out.flush();
    FrameReader in(*stream.stream);
    Frame frame;
    try {
      EXPECT_TRUE(!in.next(frame) || frame.type == MessageType::error);
    } catch (const Error&) {
      // Closed with something unread.
    }
    join();
    EXPECT_NE(said, "");
  }
}

}  // namespace
}  // namespace syncropy

#include "server/agent-session.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "util/error.hpp"

namespace syncropy {
namespace {

using namespace std::chrono_literals;

// An agent that says what it is told to, over a way on which writing can be made to fail.
class Scripted : public ByteStream {
 public:
  std::size_t read_some(std::span<std::byte> into) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !said_.empty() || aborted_ || finished_; });
    if (aborted_) throw Error(ExitStatus::protocol, "aborted");
    const std::size_t take = std::min(into.size(), said_.size());
    std::memcpy(into.data(), said_.data(), take);
    said_.erase(0, take);
    return take;
  }
  void write_all(std::span<const std::byte>) override {
    if (stalls) throw Error(ExitStatus::protocol, "the peer takes nothing");
  }
  void finish() noexcept override {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    changed_.notify_all();
  }
  void abort() noexcept override {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }
  void say(MessageType type, std::string_view payload) {
    const std::lock_guard lock(mutex_);
    for (int shift = 0; shift < 32; shift += 8) said_ += static_cast<char>(payload.size() >> shift);
    said_ += static_cast<char>(type);
    said_ += payload;
    changed_.notify_all();
  }
  std::atomic<bool> stalls = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string said_;
  bool aborted_ = false, finished_ = false;
};

struct Greeted {
  Greeted() {
    auto stream = std::make_unique<Scripted>();
    agent = stream.get();
    ByteWriter hello;
    put(hello, Hello{});
    agent->say(MessageType::hello, hello.view());
    session.emplace(SecuredStream{std::move(stream), {}}, "an agent", false);
  }
  Scripted* agent;
  std::optional<AgentSession> session;
};

bool comes(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

TEST(AgentSession, OutputOfACommandThatCouldNotBeSentReachesNobody) {
  Greeted greeted;
  std::atomic<int> calls = 0;
  greeted.agent->stalls = true;
  EXPECT_THROW(static_cast<void>(greeted.session->run_command(CommandKind::post, "x", 5, true, [&](std::string_view) { ++calls; })), Error);
  greeted.agent->say(MessageType::output, std::string(200, 'A') + "\n" + std::string(200, 'B') + "\n");
  EXPECT_TRUE(comes([&] { return greeted.session->failed(); })) << "output that nobody waits for is an offence";
  EXPECT_EQ(calls, 0);
  try {
    greeted.session->check();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("when none ran"), std::string::npos) << "it went to a stack that is gone: " << error.what();
  }
}

TEST(AgentSession, ACommandWhoseEndIsNotToldFailsTheSession) {
  Greeted greeted;
  std::atomic<bool> ended = false;
  std::thread alive([&] {
    while (!ended) {
      greeted.agent->say(MessageType::alive, {});
      std::this_thread::sleep_for(100ms);
    }
  });
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_THROW(static_cast<void>(greeted.session->run_command(CommandKind::pre, "x", 1, true, [](std::string_view) {})), Error);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
  EXPECT_TRUE(greeted.session->failed()) << "what follows needs a connection of its own";
  ended = true;
  alive.join();
}

}  // namespace
}  // namespace syncropy

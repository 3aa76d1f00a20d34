#include "agent/agent.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <system_error>
#include <thread>

#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "sd/service.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds status_interval{1};
constexpr std::chrono::milliseconds breath{100};  // after a failure to accept
constexpr const char* way_out = "Once no connection is held this agent ends, for its key is a credential, and the next one has the new one for certain";

Fd block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) throw Error(ExitStatus::internal, "cannot block signals");
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) throw_errno(ExitStatus::io, "take", "signals", "see what this process lacks: open files (LimitNOFILE=), memory");
  return fd;
}

// The times at which the loop has something to do though nothing happens.
class Alarm {
 public:
  void at(Clock::time_point when) { next_ = next_ ? std::min(*next_, when) : when; }
  [[nodiscard]] int milliseconds() const {
    if (!next_) return -1;
    return static_cast<int>(std::clamp<long long>(std::chrono::ceil<std::chrono::milliseconds>(*next_ - Clock::now()).count(), 0, 86'400'000));
  }

 private:
  std::optional<Clock::time_point> next_;
};

// Whether another file has taken the place of this program: proc(5) says so behind its name.
bool replaced() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).native().ends_with(" (deleted)");
}

class Daemon {
 public:
  Daemon(std::vector<Fd> listeners, AgentSetup& setup)
      : listeners_(std::move(listeners)), setup_(setup), signals_(block_signals()), connections_(setup.serve_connection), watchdog_(watchdog_interval()) {}

  void run() {
    notify_ready();
    const bool serves_one = static_cast<bool>(setup_.connection);
    if (serves_one) connections_.start(adopt_connection(std::move(setup_.connection)), setup_.terms);
    while (true) {
      Alarm alarm;
      if (const auto next = connections_.cut_strangers()) alarm.at(*next);
      if (watchdog_) alarm.at(last_sign_ + *watchdog_);
      tell_status(alarm);
      if (may_idle()) {
        // Nothing is held, and nothing is accepted from here on: what arrives waits in the socket.
        if (replaced() || outdated_ || Clock::now() >= idle_end()) break;
        if (setup_.terms->policy.idle_exit > 0) alarm.at(idle_end());
      }
      if (!wait(alarm)) break;
      if (serves_one && connections_.count() == 0) break;
    }
    notify_stopping();
    end();
  }

 private:
  [[nodiscard]] bool may_idle() const { return setup_.exit_when_idle && connections_.count() == 0; }
  [[nodiscard]] Clock::time_point idle_end() const {
    const auto idle_exit = setup_.terms->policy.idle_exit;
    return idle_exit > 0 ? idle_since_ + std::chrono::seconds(idle_exit) : Clock::time_point::max();
  }

  // False at a signal to end.
  bool wait(const Alarm& alarm) {
    std::vector<pollfd> polls{{signals_.get(), POLLIN, 0}, {connections_.ended_fd(), POLLIN, 0}};
    for (const Fd& listener : listeners_) polls.push_back({listener.get(), POLLIN, 0});
    const int ready = ::poll(polls.data(), polls.size(), alarm.milliseconds());
    if (ready < 0 && errno != EINTR) throw_errno(ExitStatus::io, "wait for", "connections");
    if (ready > 0) {
      if (polls[0].revents != 0 && !take_signals()) return false;
      if (polls[1].revents != 0) {
        connections_.reap();
        idle_since_ = Clock::now();
      }
      for (std::size_t i = 2; i < polls.size(); ++i)
        if (polls[i].revents != 0) accept_one(polls[i].fd);
    }
    if (watchdog_ && Clock::now() >= last_sign_ + *watchdog_) {
      notify_watchdog();
      last_sign_ = Clock::now();
    }
    return true;
  }

  void accept_one(int listener) {
    idle_since_ = Clock::now();
    try {
      if (Socket socket = accept_from(listener); socket.fd) connections_.start(std::move(socket), setup_.terms);
    } catch (const Error& error) {
      // Out of descriptors or threads: what is being served goes on, and the next connection may find room again.
      log(Priority::error, error.line());
      std::this_thread::sleep_for(breath);
    }
  }

  bool take_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo != SIGHUP) return false;
      reload();
    }
    return true;
  }

  void reload() {
    notify_reloading();
    // Who reloads has looked whether all is well (ExecReload=): then it is what this process was handed that is too old, if anything is wrong.
    outdated_ = setup_.exit_when_idle && setup_.terms->handed_over;
    try {
      setup_.terms = setup_.reload();
      outdated_ = outdated_ || (setup_.exit_when_idle && setup_.terms->handed_over);
      log(Priority::info, std::string("read policy and certificates anew; connections under way keep the old ones") + (outdated_ ? std::string(". ") + way_out : ""));
    } catch (const Error& error) {
      log(Priority::error, "policy and certificates stay as they were: " + error.line() + (outdated_ ? std::string(". ") + way_out : ""),
          {{"SYNCROPY_STATUS", std::to_string(static_cast<int>(error.status()))}}, message_id::reload_refused);
    }
    notify_ready();
  }

  void tell_status(Alarm& alarm) {
    const Clock::time_point now = Clock::now();
    if (now >= next_status_) {
      notify_status(connections_.describe_all());
      next_status_ = now + status_interval;
      told_of_none_ = connections_.count() == 0;
    }
    // Once nobody is served, that is said once.
    if (connections_.count() > 0 || !told_of_none_) alarm.at(next_status_);
  }

  void end() {
    if (connections_.end_all(Clock::now() + setup_.end_limit)) return;
    log(Priority::warning, "ends though " + std::to_string(connections_.count()) + " connections have not: something they read or wrote does not answer");
    ::_exit(0);
  }

  std::vector<Fd> listeners_;
  AgentSetup& setup_;
  Fd signals_;
  Connections connections_;
  std::optional<Clock::duration> watchdog_;
  Clock::time_point last_sign_{}, next_status_{}, idle_since_ = Clock::now();
  bool told_of_none_ = false, outdated_ = false;
};

}  // namespace

void serve(std::vector<Fd> listeners, AgentSetup& setup) { Daemon(std::move(listeners), setup).run(); }

void turn_away(const std::vector<Fd>& listeners, std::chrono::milliseconds time) noexcept {
  try {
    std::vector<pollfd> polls;
    for (const Fd& listener : listeners) polls.push_back({listener.get(), POLLIN, 0});
    Clock::time_point until = Clock::now();
    while (true) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
      const int ready = ::poll(polls.data(), polls.size(), static_cast<int>(std::max<long long>(left, 0)));
      if (ready < 0 && errno != EINTR) return;
      if (ready == 0 && Clock::now() >= until) return;
      for (const pollfd& each : polls) {
        if (each.revents == 0 || !accept_from(each.fd).fd) continue;
        if (until <= Clock::now()) until = Clock::now() + time;
      }
      if (Clock::now() >= until) return;
    }
  } catch (const std::exception&) {
    // It ends in any case.
  }
}

}  // namespace syncropy

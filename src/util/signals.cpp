#include "util/signals.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "util/error.hpp"

namespace syncropy {
namespace {

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    struct sigaction now{};
    if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  return set;
}

}  // namespace

SignalWatch::SignalWatch(std::function<void(int)> tell) : ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), tell_(std::move(tell)) {
  const sigset_t set = watched();
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) throw Error(ExitStatus::internal, "cannot block signals");
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_ || !ended_) throw_errno(ExitStatus::internal, "wait for", "signals");
  thread_ = std::thread([this] {
    for (;;) {
      pollfd polls[] = {{signals_.get(), POLLIN, 0}, {ended_.get(), POLLIN, 0}};
      if (::poll(polls, 2, -1) < 0) continue;
      if (polls[1].revents != 0) return;
      signalfd_siginfo info{};
      if (::read(signals_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
      const int number = static_cast<int>(info.ssi_signo);
      tell_(number);
      sigset_t one;
      sigemptyset(&one);
      sigaddset(&one, number);
      std::signal(number, SIG_DFL);
      ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
      ::raise(number);
    }
  });
}

SignalWatch::~SignalWatch() {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(ended_.get(), &one, sizeof one));
  thread_.join();
  const sigset_t set = watched();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace syncropy

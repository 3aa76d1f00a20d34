#include "util/signals.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "util/error.hpp"

namespace syncropy {
namespace {

// The thread is ended by a signal of its own: unlike a descriptor, that needs no write that could fail.
constexpr int end_signal = SIGUSR1;

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, end_signal);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    struct sigaction now{};
    if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  return set;
}

}  // namespace

SignalWatch::SignalWatch(std::function<void(int)> tell) : tell_(std::move(tell)) {
  const sigset_t set = watched();
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) throw Error(ExitStatus::internal, "cannot block signals");
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!signals_) throw_errno(ExitStatus::io, "wait for", "signals", "see what this process lacks: open files (LimitNOFILE=), memory");
  thread_ = std::thread([this] {
    for (;;) {
      signalfd_siginfo info{};
      if (::read(signals_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
      if (ended_) return;
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
  ended_ = true;
  ::pthread_kill(thread_.native_handle(), end_signal);
  thread_.join();
  const sigset_t set = watched();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace syncropy

#include "util/crash.hpp"

#include <cxxabi.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string_view>
#include <typeinfo>
#include <utility>

#include "util/error.hpp"

namespace syncropy {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitizers_tell = true;
#else
constexpr bool sanitizers_tell = false;
#endif
constexpr std::array<int, 5> crash_signals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// Written before the handlers are there, and by nobody since. A handler may call nothing that allocates.
std::string beginning, ending;
bool core_is_wanted = false;
std::atomic_flag told = ATOMIC_FLAG_INIT;
std::array<char, 64 * 1024> handler_stack;  // of the main thread, for when its own is used up

// One write, so that no other line gets in between.
void tell(std::string_view why) {
  std::array<char, 1024> line;
  std::size_t length = 0;
  for (const std::string_view part : {std::string_view(beginning), why, std::string_view(ending)}) {
    const std::size_t fits = std::min(part.size(), line.size() - length);
    std::memcpy(line.data() + length, part.data(), fits);
    length += fits;
  }
  static_cast<void>(!::write(STDERR_FILENO, line.data(), length));
}

[[noreturn]] void end(int number) {
  if (!core_is_wanted) ::_exit(static_cast<int>(ExitStatus::internal));
  std::signal(number, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  ::raise(number);
  ::_exit(static_cast<int>(ExitStatus::internal));
}

void at_signal(int number) {
  if (told.test_and_set())
    for (;;) ::pause();  // another thread was first, and ends the process
  const char* name = ::sigabbrev_np(number);
  char why[16] = "SIG";
  std::strncat(why, name != nullptr ? name : "", sizeof why - 4);
  tell(why);
  end(number);
}

[[noreturn]] void at_terminate() {
  if (told.test_and_set())
    for (;;) ::pause();
  const std::type_info* type = abi::__cxa_current_exception_type();
  tell(type == nullptr ? "std::terminate" : type->name());
  end(SIGABRT);
}

}  // namespace

void tell_crashes(std::string before, std::string after) {
  if (sanitizers_tell) return;
  beginning = std::move(before);
  ending = std::move(after);
  rlimit core{};
  core_is_wanted = ::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur != 0;
  stack_t stack{};
  stack.ss_sp = handler_stack.data();
  stack.ss_size = handler_stack.size();
  static_cast<void>(::sigaltstack(&stack, nullptr));
  struct sigaction action{};
  action.sa_handler = at_signal;
  action.sa_flags = SA_ONSTACK;
  for (const int number : crash_signals) static_cast<void>(::sigaction(number, &action, nullptr));
  std::set_terminate(at_terminate);
}

void leave_crashes_alone() {
  for (const int number : crash_signals) std::signal(number, SIG_DFL);
  std::set_terminate(std::abort);
}

}  // namespace syncropy

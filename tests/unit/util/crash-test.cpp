#include "util/crash.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <stdexcept>

#include "util/apart.hpp"

namespace syncropy {
namespace {

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

void arm(rlim_t core) {
  const rlimit limit{core, RLIM_INFINITY};
  ASSERT_EQ(::setrlimit(RLIMIT_CORE, &limit), 0);
  tell_crashes("before ", " after\n");
}

TEST(CrashDeathTest, ASignalIsToldInOneLine) {
  EXPECT_EXIT((arm(0), std::raise(SIGBUS)), testing::ExitedWithCode(70), "^before SIGBUS after\n$");
  EXPECT_EXIT((arm(0), std::abort()), testing::ExitedWithCode(70), "^before SIGABRT after\n$");
}

void fails() { throw std::runtime_error("why"); }

TEST(CrashDeathTest, AnExceptionThatNobodyCatchesIsTold) {
  EXPECT_EXIT((arm(0), []() noexcept { fails(); }()), testing::ExitedWithCode(70), "^before St13runtime_error after\n$");
}

TEST(CrashDeathTest, UsedUpStackIsTold) {
  struct Deep {
    static unsigned down(unsigned depth) {
      volatile char room[10'000] = {};
      room[depth % 10'000] = 1;
      return depth == 0 ? 0 : down(depth - 1) + static_cast<unsigned>(room[1]);
    }
  };
  EXPECT_EXIT((arm(0), Deep::down(10'000'000)), testing::ExitedWithCode(70), "^before SIGSEGV after\n$");
}

TEST(CrashDeathTest, WhoWantsCoreFilesGetsTheSignal) {
  EXPECT_EXIT((arm(1), std::raise(SIGSEGV)), testing::KilledBySignal(SIGSEGV), "^before SIGSEGV after\n$");
}

TEST(CrashDeathTest, AChildThatIsWatchedCrashesInSilence) {
  EXPECT_EXIT((arm(0), leave_crashes_alone(), std::raise(SIGSEGV)), testing::KilledBySignal(SIGSEGV), "^$");
}

#endif

}  // namespace
}  // namespace syncropy

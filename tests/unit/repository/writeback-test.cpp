#include "repository/writeback.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

TEST(Writeback, EndsAtOnceAndNeedsItsFolderOnlyToBegin) {
  const Scratch scratch;
  Fd folder(::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto began = Clock::now();
  {
    const Writeback writeback(folder);
    folder = Fd();
  }
  EXPECT_LT(Clock::now() - began, std::chrono::milliseconds(900));
}

TEST(Writeback, AFolderThatIsGoneIsNoFailure) { const Writeback writeback{Fd()}; }

}  // namespace
}  // namespace syncropy

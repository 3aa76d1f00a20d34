#include "util/apart.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

namespace syncropy {
namespace {

using namespace std::chrono_literals;

class Apart : public testing::Test {
 protected:
  ApartEnd run(const std::function<void(const TellLine&)>& work, std::chrono::milliseconds patience = 20s) {
    lines.clear();
    return run_apart(work, [this](std::string_view line) { lines.emplace_back(line); }, patience);
  }
  std::vector<std::string> lines;
};

TEST_F(Apart, WhatItTellsArrivesInOrder) {
  const pid_t self = ::getpid();
  EXPECT_EQ(run([self](const TellLine& tell) {
              tell(::getpid() == self ? "here" : "apart");
              for (int i = 0; i < 20'000; ++i) tell("line " + std::to_string(i));
              tell("two\nlines");
              tell("");
            }), ApartEnd::finished);
  ASSERT_EQ(lines.size(), 20'004U);
  EXPECT_EQ(lines[0], "apart");
  EXPECT_EQ(lines[20'000], "line 19999");
  EXPECT_EQ(lines[20'002], "lines");
  EXPECT_EQ(lines[20'003], "");
}

TEST_F(Apart, ACrashEndsTheChildAlone) {
  EXPECT_EQ(run([](const TellLine& tell) {
              tell("before");
              std::signal(SIGABRT, SIG_DFL);
              std::abort();
            }), ApartEnd::crashed);
  EXPECT_EQ(lines, std::vector<std::string>{"before"});
  EXPECT_EQ(run([](const TellLine&) { throw std::runtime_error("x"); }), ApartEnd::crashed);
  EXPECT_EQ(run([](const TellLine&) { ::_exit(7); }), ApartEnd::crashed);
}

TEST_F(Apart, WhatSomebodyElseEndsHasNotCrashed) {
  EXPECT_EQ(run([](const TellLine&) { ::raise(SIGKILL); }), ApartEnd::killed);
  EXPECT_EQ(run([](const TellLine&) {
              std::signal(SIGTERM, SIG_DFL);
              ::raise(SIGTERM);
            }), ApartEnd::killed);
}

TEST_F(Apart, OneThatSaysNothingIsKilled) {
  EXPECT_EQ(run([](const TellLine&) { ::sleep(600); }, 50ms), ApartEnd::silent);
}

TEST_F(Apart, WhatIsThrownHereEndsTheChild) {
  EXPECT_THROW(static_cast<void>(run_apart([](const TellLine& tell) {
                                   tell("x");
                                   ::sleep(600);
                                 }, [](std::string_view) { throw std::runtime_error("enough"); }, 20s)),
               std::runtime_error);
}

}  // namespace
}  // namespace syncropy

#include "agent/command.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

class Command : public testing::Test {
 protected:
  Ran run(const std::string& command, unsigned seconds = 10, bool succeeded = true, CommandKind kind = CommandKind::post) {
    output.clear();
    return run_command(policy, {kind, command, seconds, succeeded}, "backup.example", {&cut, &stopping}, [this](std::string_view piece) { output += piece; });
  }
  void hook(const std::string& name, const std::string& script, mode_t mode = 0755) {
    std::ofstream(scratch.path() + "/" + name) << "#!/bin/sh\n" << script << "\n";
    ::chmod((scratch.path() + "/" + name).c_str(), mode);
  }
  ExitStatus refusal(const std::string& command) {
    try {
      static_cast<void>(run(command));
    } catch (const Error& error) {
      EXPECT_FALSE(error.remedy().empty());
      return error.status();
    }
    return ExitStatus::success;
  }
  Scratch scratch;
  const Event cut, stopping;
  AgentPolicy policy;
  std::string output;
  void SetUp() override { policy.hooks_folder = scratch.path(); }
};

TEST_F(Command, NamedRunsWhatLiesInTheHooksFolderAndNothingElse) {
  hook("dump", "echo dumping; exit 3");
  const Ran ran = run("dump");
  EXPECT_EQ(ran.end, CommandEnd::exited);
  EXPECT_EQ(ran.value, 3U);
  EXPECT_EQ(output, "dumping\n");
  for (const char* command : {"/bin/true", "../dump", "dump; true", "dump x", ".hidden", "", "none"}) EXPECT_EQ(refusal(command), ExitStatus::refused) << command;
}

TEST_F(Command, NoneAndAny) {
  policy.commands = CommandPolicy::none;
  EXPECT_EQ(refusal("true"), ExitStatus::refused);
  policy.commands = CommandPolicy::any;
  EXPECT_EQ(run("echo $SYNCROPY_COMMAND $SYNCROPY_RESULT $SYNCROPY_SERVER; false || exit 7").value, 7U);
  EXPECT_EQ(output, "post success backup.example\n");
  static_cast<void>(run("echo $SYNCROPY_RESULT", 10, false));
  EXPECT_EQ(output, "failure\n");
  static_cast<void>(run("env | grep -c '^HOME='", 10));
  EXPECT_EQ(output, "0\n") << "nothing of the agent's own environment";
}

// What a cut means is the policy's to say.
TEST_F(Command, ACutEndsItUnlessItMayFinish) {
  policy.commands = CommandPolicy::any;
  cut.set();
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(run("sleep 100").end, CommandEnd::signalled);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(2));
  policy.commands_if_cut = CutPolicy::finish;
  EXPECT_EQ(run("sleep 0.3; echo finished").end, CommandEnd::exited);
  EXPECT_EQ(output, "finished\n");
  stopping.set();
  EXPECT_EQ(run("sleep 100").end, CommandEnd::signalled) << "an agent that ends waits for nothing";
}

// Never by the agent's own user when root was asked for.
TEST_F(Command, AsRootIsTheWorkersOrNobodys) {
  hook("touch", "echo ran");
  policy.commands_as = CommandUser::root;
  policy.hook_socket = scratch.path() + "/no-worker";
  EXPECT_EQ(refusal("touch"), ExitStatus::command);
  EXPECT_EQ(output, "");
}

}  // namespace
}  // namespace syncropy

#include "agent/hook-program.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/support/scratch.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

namespace fs = std::filesystem;

struct HookProgram : testing::Test {
  HookProgram() {
    fs::create_directories(folder);
    ::chmod((scratch.path() + "/above").c_str(), 0755);
    ::chmod(folder.c_str(), 0755);
    program("good");
  }
  void program(const std::string& name, mode_t mode = 0755) {
    create_file(AT_FDCWD, folder + "/" + name, "#!/bin/sh\n", 0700);
    ::chmod((folder + "/" + name).c_str(), mode);
  }
  std::string refusal(const std::string& name, const std::string& in = "") {
    try {
      static_cast<void>(find_hook(in.empty() ? folder : in, name, ::geteuid()));
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::refused);
      EXPECT_FALSE(error.remedy().empty());
      return error.what();
    }
    return "none";
  }
  bool finds() { return refusal("good") == "none"; }
  const Scratch scratch;
  const std::string folder = scratch.path() + "/above/hooks.d";
};

TEST_F(HookProgram, OnlyPlainNames) {
  EXPECT_EQ(find_hook(folder, "good", ::geteuid()), fs::canonical(folder).string() + "/good");
  for (const std::string name : {"/bin/true", "../good", "good; true", "good x", ".hidden", "", "a/b", "good\n", "$(true)"})
    EXPECT_NE(refusal(name).find("is not a plain name"), std::string::npos) << name;
  EXPECT_NE(refusal(std::string("good\0x", 6)).find("is not a plain name"), std::string::npos);
  EXPECT_NE(refusal("missing").find("No such file"), std::string::npos);
}

TEST_F(HookProgram, OnlyPrograms) {
  program("text", 0644);
  EXPECT_NE(refusal("text").find("not a program"), std::string::npos);
  fs::create_symlink("good", folder + "/alias");
  EXPECT_NE(refusal("alias").find("not a program"), std::string::npos);
  fs::create_directory(folder + "/folder");
  EXPECT_NE(refusal("folder").find("not a program"), std::string::npos);
}

TEST_F(HookProgram, OnlyWhatNobodyElseMayWrite) {
  for (const mode_t mode : {0775U, 0757U, 0777U}) {
    program("open" + std::to_string(mode), mode);
    EXPECT_NE(refusal("open" + std::to_string(mode)).find("others than root may write"), std::string::npos);
  }
  ::chmod(folder.c_str(), 01777);  // a sticky bit helps above, not here: anybody could add a program
  EXPECT_FALSE(finds());
  ::chmod(folder.c_str(), 0755);
  EXPECT_TRUE(finds());
}

// Whoever may write above the folder may put another one, of root's, into its place.
TEST_F(HookProgram, NobodyMayMoveTheFolderAway) {
  ::chmod((scratch.path() + "/above").c_str(), 0777);
  EXPECT_NE(refusal("good").find("which the hooks folder is in"), std::string::npos);
  ::chmod((scratch.path() + "/above").c_str(), 01777);
  EXPECT_TRUE(finds());
  ::chmod((scratch.path() + "/above").c_str(), 0755);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown((scratch.path() + "/above").c_str(), 65'534, 65'534), 0);
    EXPECT_FALSE(finds());
    ASSERT_EQ(::chown((scratch.path() + "/above").c_str(), 0, 0), 0);
    ASSERT_EQ(::chown((folder + "/good").c_str(), 65'534, 65'534), 0);
    EXPECT_FALSE(finds());
  }
}

// A link to the folder may stand anywhere: what it leads to is looked at, and what is run lies there.
TEST_F(HookProgram, LinksAreResolvedFirst) {
  const Scratch elsewhere;
  fs::create_directory_symlink(folder, elsewhere.path() + "/link");
  EXPECT_EQ(find_hook(elsewhere.path() + "/link", "good", ::geteuid()), fs::canonical(folder).string() + "/good");
  ::chmod((scratch.path() + "/above").c_str(), 0777);
  EXPECT_NE(refusal("good", elsewhere.path() + "/link").find("which the hooks folder is in"), std::string::npos);
}

}  // namespace
}  // namespace syncropy

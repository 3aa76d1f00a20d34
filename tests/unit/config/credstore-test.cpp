#include "config/credstore.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

std::string content(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Credstore, WhatIsThereIsReadOnceAndStaysReadable) {
  const Scratch scratch;
  const std::string plain = scratch.path(), encrypted = scratch.path() + "/encrypted";
  EXPECT_FALSE(credential_in_store("key", plain, encrypted));
  create_file(AT_FDCWD, plain + "/key", "secret\n", 0400);
  const std::string file = credential_in_store("key", plain, encrypted).value();
  EXPECT_EQ(content(file), "secret\n");
  EXPECT_EQ(credential_in_store("key", plain, encrypted), file);
  if (::geteuid() != 0) return;
  // Root becomes the repository's owner, for whom the folder is closed.
  ::chmod(plain.c_str(), 0700);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(64'002) != 0 || ::setuid(64'002) != 0) ::_exit(2);
    ::_exit(content(file) == "secret\n" && content(plain + "/key").empty() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

// Stands for systemd-creds, which needs the machine's own key: tests/machine has the real one.
TEST(Credstore, EncryptedOnesAreDecryptedUnderTheirName) {
  const Scratch scratch;
  const std::string encrypted = scratch.path() + "/encrypted";
  ASSERT_EQ(::mkdir(encrypted.c_str(), 0700), 0);
  create_file(AT_FDCWD, encrypted + "/key.cred", "terces", 0400);
  create_file(AT_FDCWD, scratch.path() + "/systemd-creds", "#!/bin/sh\n[ \"$1 $2 $4\" = 'decrypt --name=key.cred -' ] && rev \"$3\"\n", 0700);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (scratch.path() + ":" + path).c_str(), 1);
  EXPECT_EQ(content(credential_in_store("key", scratch.path(), encrypted).value()), "secret");
  create_file(AT_FDCWD, encrypted + "/other.cred", "terces", 0400);
  ::rename((scratch.path() + "/systemd-creds").c_str(), (scratch.path() + "/gone").c_str());
  create_file(AT_FDCWD, scratch.path() + "/systemd-creds", "#!/bin/sh\nexit 1\n", 0700);
  try {
    static_cast<void>(credential_in_store("other", scratch.path(), encrypted));
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::config);
    EXPECT_NE(error.line().find("could not decrypt " + encrypted + "/other.cred"), std::string::npos) << error.line();
  }
  ::setenv("PATH", path.c_str(), 1);
}

TEST(Credstore, AreEncryptedAgainByTheSameKindOfKey) {
  const Scratch scratch;
  create_file(AT_FDCWD, scratch.path() + "/systemd-creds", "#!/bin/sh\n[ \"$1 $3 $4 $5\" = 'encrypt --name=key.cred - -' ] && echo \"$2\" && exec rev\n", 0700);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (scratch.path() + ":" + path).c_str(), 1);
  // What systemd-creds 252 itself made.
  EXPECT_EQ(encrypted_credential("secret\n", "key.cred", "Whxqht+dQJax1aZeCGLxmiAAAAABAAAADAAAABAAAAD1T5iJFCyW"), "--with-key=host\nterces\n");
  EXPECT_EQ(encrypted_credential("secret\n", "key.cred", "something else"), "--with-key=auto\nterces\n");
  EXPECT_THROW(static_cast<void>(encrypted_credential("secret\n", "other", "")), Error);
  ::setenv("PATH", path.c_str(), 1);
}

TEST(Credstore, OfTwoNoneIsTaken) {
  const Scratch scratch;
  const std::string encrypted = scratch.path() + "/encrypted";
  ASSERT_EQ(::mkdir(encrypted.c_str(), 0700), 0);
  create_file(AT_FDCWD, scratch.path() + "/key", "a", 0400);
  create_file(AT_FDCWD, encrypted + "/key.cred", "b", 0400);
  EXPECT_THROW(static_cast<void>(credential_in_store("key", scratch.path(), encrypted)), Error);
}

}  // namespace
}  // namespace syncropy

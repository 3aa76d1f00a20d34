#pragma once
// A folder for one test, and a process of its own for what would change the test program itself.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "util/fd.hpp"
#include "util/folder.hpp"

namespace syncropy {

class Tree {
 public:
  Tree() {
    const char* temporary = std::getenv("TMPDIR");
    path_ = std::string(temporary != nullptr ? temporary : "/tmp") + "/syncropy-scan-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make " + path_);
    reopen();
  }
  // A descriptor belongs to the mount namespace it was opened in.
  void reopen() { root_ = Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() {
    if (std::system(("chmod -R u+rwx '" + path_ + "' 2>/dev/null; rm -rf '" + path_ + "'").c_str()) != 0) {
      std::fprintf(stderr, "cannot remove %s\n", path_.c_str());
    }
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path(std::string_view below) const { return path_ + "/" + std::string(below); }
  [[nodiscard]] int root() const { return root_.get(); }

  void folder(std::string_view name) const { ASSERT_EQ(::mkdirat(root(), std::string(name).c_str(), 0755), 0) << name; }
  void file(std::string_view name, std::string_view content = {}) const {
    const Fd fd(::openat(root(), std::string(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    ASSERT_TRUE(fd) << name << ": " << std::strerror(errno);
    ASSERT_EQ(::write(fd.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  }
  void link(const std::string& target, std::string_view name) const {
    ASSERT_EQ(::symlinkat(target.c_str(), root(), std::string(name).c_str()), 0) << name;
  }
  // `depth` folders called `name`, each in the one before; the deepest comes back open.
  [[nodiscard]] Fd chain(const std::string& name, unsigned depth) const {
    Fd at = root_.duplicate();
    for (unsigned i = 0; i < depth; ++i) {
      EXPECT_EQ(::mkdirat(at.get(), name.c_str(), 0755), 0);
      at = Fd(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      EXPECT_TRUE(at);
    }
    return at;
  }

 private:
  std::string path_;
  Fd root_;
};

// What cannot be tested as this user or on this machine is said where nobody can overlook it.
inline void say_not_tested(const std::string& what) { std::fprintf(stderr, "[ NOT TESTED ] %s\n", what.c_str()); }

// Runs `body` in a process of its own; its failed expectations become one here.
inline void in_child(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    std::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "in the child process, see above";
}

// For a child: becomes an ordinary user, if it is not one.
inline void become_ordinary_user() {
  if (::geteuid() != 0) return;
  ASSERT_EQ(::setresgid(65'534, 65'534, 65'534), 0);
  ASSERT_EQ(::setresuid(65'534, 65'534, 65'534), 0);
}

// For a child: takes it into a mount namespace of its own, where it may mount; false where this user may not.
inline bool enter_mount_namespace() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return false;
  const auto put = [](const char* path, const std::string& text) {
    const Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
    return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  };
  if (uid != 0 && !(put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1") &&
                    put("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1"))) {
    return false;
  }
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

}  // namespace syncropy

#pragma once
// A folder of a test's own, removed at its end.

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "util/error.hpp"
#include "util/file.hpp"

namespace syncropy {

class Scratch {
 public:
  Scratch() {
    const char* parent = std::getenv("TMPDIR");
    path_ = std::string(parent != nullptr ? parent : "/tmp") + "/syncropy-test-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) throw_errno(ExitStatus::io, "make", path_);
  }
  ~Scratch() {
    try {
      remove_tree(AT_FDCWD, path_);
    } catch (const Error&) {
      // A test that left something unremovable has said so by then.
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace syncropy

#pragma once
// Something that happens once, and that poll(2) can wait for beside other things.

#include "util/fd.hpp"

namespace syncropy {

class Event {
 public:
  Event();  // throws SystemError
  // From any thread, any number of times.
  void set() const noexcept;
  [[nodiscard]] bool is_set() const noexcept;
  // Readable from set() on; nobody reads it.
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
};

}  // namespace syncropy

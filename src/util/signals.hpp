#pragma once
// Signals that end the process do so at once, whatever a library thinks of them.

#include <atomic>
#include <functional>
#include <thread>

#include "util/fd.hpp"

namespace syncropy {

// While this lives, SIGTERM, SIGINT and SIGHUP (those that were not ignored when it was made) reach a thread of its own, which calls `tell` and
// ends the process by that signal. Made before other threads are, which inherit that they are blocked: so no handler runs that Firebird's client
// library installs, which would let the process outlive them. One at a time.
class SignalWatch {
 public:
  explicit SignalWatch(std::function<void(int)> tell);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  Fd signals_;
  std::function<void(int)> tell_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

}  // namespace syncropy

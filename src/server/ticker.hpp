#pragma once
// Shows what all clients of a run do.

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "server/progress.hpp"

namespace syncropy {

// A thread that until this is destroyed writes a line on a terminal, four times a second, and into `systemctl status`, once a second, and asks
// systemd for more time as long as something moves: 15 minutes, or as many seconds as SYNCROPY_PATIENCE says (1 to 86,400). `clients` outlives this.
class Ticker {
 public:
  explicit Ticker(const std::deque<Progress>& clients);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  void tick();
  void tell_until_the_end();
  const std::deque<Progress>& clients_;
  const unsigned patience_;  // seconds
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace syncropy

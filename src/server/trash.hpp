#pragma once
// What has expired and was not used again, removed beside a run and never in its way.

#include <atomic>
#include <thread>

#include "repository/repository.hpp"

namespace syncropy {

// A thread of idle priority, for CPU and disk, that empties the client's trash as long as this lives; what is left then stays for the next run or
// for `syncropy empty-trash`. `store` outlives this. A failure is logged at debug level: whoever needs the room hears of it.
class TrashEmptier {
 public:
  explicit TrashEmptier(const ClientStore& store);
  ~TrashEmptier();
  TrashEmptier(const TrashEmptier&) = delete;
  TrashEmptier& operator=(const TrashEmptier&) = delete;

 private:
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

}  // namespace syncropy

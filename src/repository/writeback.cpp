#include "repository/writeback.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>

namespace syncropy {

Writeback::Writeback(const Fd& folder) : folder_(::openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (folder_) thread_ = std::thread([this] { sync_each_second(); });
}

Writeback::~Writeback() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wakes_.notify_one();
  thread_.join();
}

void Writeback::sync_each_second() {
  std::unique_lock lock(mutex_);
  while (!wakes_.wait_for(lock, std::chrono::seconds(1), [this] { return ending_; })) {
    lock.unlock();
    // All clients of a process lie on one filesystem: what one thread syncs, the others need not.
    static std::mutex syncing;
    if (const std::unique_lock mine(syncing, std::try_to_lock); mine.owns_lock()) static_cast<void>(::syncfs(folder_.get()));
    lock.lock();
  }
}

}  // namespace syncropy

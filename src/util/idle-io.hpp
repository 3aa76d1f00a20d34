#pragma once
// Reading and removing that must not slow down a backup or anything else that uses the disk.

namespace syncropy {

// While it lives, the calling thread has the disk only when nobody else wants it (ioprio_set(2), class idle), as far as the scheduler of the
// disk knows such a thing.
class IdleIo {
 public:
  IdleIo();
  ~IdleIo();
  IdleIo(const IdleIo&) = delete;
  IdleIo& operator=(const IdleIo&) = delete;

 private:
  int before_;
};

}  // namespace syncropy

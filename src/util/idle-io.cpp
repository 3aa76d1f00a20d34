#include "util/idle-io.hpp"

#include <sys/syscall.h>
#include <unistd.h>

namespace syncropy {
namespace {

// ioprio_set(2). Its header is no C++ in some versions of Linux, and the C library has none.
constexpr int who_process = 1, class_idle = 3, class_shift = 13;

}  // namespace

IdleIo::IdleIo() : before_(static_cast<int>(::syscall(SYS_ioprio_get, who_process, 0))) {
  ::syscall(SYS_ioprio_set, who_process, 0, class_idle << class_shift);
}

IdleIo::~IdleIo() {
  if (before_ >= 0) ::syscall(SYS_ioprio_set, who_process, 0, before_);
}

}  // namespace syncropy

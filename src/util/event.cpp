#include "util/event.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "util/error.hpp"

namespace syncropy {

Event::Event() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!fd_) throw_errno(ExitStatus::io, "make", "an eventfd");
}

void Event::set() const noexcept {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(fd_.get(), &one, sizeof one));
}

bool Event::is_set() const noexcept {
  pollfd readable{fd_.get(), POLLIN, 0};
  return ::poll(&readable, 1, 0) > 0;
}

}  // namespace syncropy

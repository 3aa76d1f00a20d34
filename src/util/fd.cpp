#include "util/fd.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "util/error.hpp"

namespace syncropy {

void Fd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void Fd::close_checked(std::string_view name) {
  // Linux frees the descriptor even when close fails with EINTR (close(2)).
  if (fd_ >= 0 && ::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) throw_errno(ExitStatus::io, "close", name);
}

Fd Fd::duplicate() const {
  const int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw_errno(ExitStatus::io, "duplicate", "a file descriptor");
  return Fd(copy);
}

}  // namespace syncropy

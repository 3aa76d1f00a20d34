#include "restore/aside.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "restore/attributes.hpp"
#include "util/error.hpp"

namespace syncropy {

Aside::Aside(std::shared_ptr<const Fd> folder, std::string temporary, Fd file)
    : folder_(std::move(folder)), temporary_(std::move(temporary)), file_(std::move(file)) {}

Aside::Aside(Aside&& other) noexcept
    : folder_(std::move(other.folder_)), temporary_(std::exchange(other.temporary_, {})), file_(std::move(other.file_)), inherits_acl_(other.inherits_acl_),
      hasher_(other.hasher_), at_(other.at_), written_(other.written_), failure_(other.failure_) {}

Aside::~Aside() {
  if (!temporary_.empty()) ::unlinkat(folder_->get(), temporary_.c_str(), 0);
}

void Aside::write(std::uint64_t offset, std::string_view bytes) {
  if (offset < at_) throw Error(ExitStatus::protocol, "the server sent content out of order", "check that it is a Syncropy of a fitting version");
  if (failure_ != 0) return;
  hasher_.update_zeros(offset - at_);
  hasher_.update(bytes);
  at_ = offset;
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at_));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      if (ends_the_restore(errno)) throw_errno(ExitStatus::io, "write", temporary_);
      failure_ = errno;
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(put));
    written_ = at_ += static_cast<std::uint64_t>(put);
  }
}

}  // namespace syncropy

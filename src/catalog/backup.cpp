#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "catalog/access.hpp"
#include "catalog/engine.hpp"
#include "catalog/service.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

// A file that takes its name when it is whole, and is gone if that does not come to pass. Who makes another for the same name meanwhile waits;
// what one left that was killed is written over, so that no second one ever lies about.
class Draft {
 public:
  explicit Draft(const std::string& file) : file_(file), folder_(std::filesystem::path(file).parent_path()), name_(file + ".new") {
    struct stat ours{}, named{};
    do {
      fd_ = Fd(::open(name_.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
      if (!fd_) throw_errno(ExitStatus::io, "create", name_, errno == ENOENT ? "make its folder first" : "name a file in a folder that this user may write to");
      while (::flock(fd_.get(), LOCK_EX) != 0)
        if (errno != EINTR) throw_errno(ExitStatus::io, "lock", name_);
      if (::fstat(fd_.get(), &ours) != 0) throw_errno(ExitStatus::io, "look at", name_);
    } while (::lstat(name_.c_str(), &named) != 0 || named.st_ino != ours.st_ino || named.st_dev != ours.st_dev);  // who held the lock has renamed it
    if (!S_ISREG(ours.st_mode)) throw Error(ExitStatus::io, escape(name_) + " is something else than a file", "look who has put it there, and remove it");
    if (::ftruncate(fd_.get(), 0) != 0 || ::fchmod(fd_.get(), 0600) != 0) throw_errno(ExitStatus::io, "empty", name_);
  }
  ~Draft() {
    if (!published_) ::unlink(name_.c_str());
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  void write(std::string_view bytes) {
    write_all(fd_.get(), bytes, name_);
    bytes_ += bytes.size();
  }
  std::uint64_t publish() {
    if (::fsync(fd_.get()) != 0) throw_errno(ExitStatus::io, "sync", name_);
    struct stat st{};
    if (::lstat(file_.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) throw Error(ExitStatus::io, escape(file_) + " is something else than a file", "name another");
    if (::rename(name_.c_str(), file_.c_str()) != 0) throw_errno(ExitStatus::io, "write", file_);
    published_ = true;
    fd_.close_checked(file_);
    const Fd folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder || ::fsync(folder.get()) != 0) throw_errno(ExitStatus::io, "sync", folder_);
    return bytes_;
  }

 private:
  std::string file_, folder_, name_;
  Fd fd_;
  std::uint64_t bytes_ = 0;
  bool published_ = false;
};

}  // namespace

std::uint64_t Catalog::back_up(const CatalogLocation& location, const std::string& file) {
  Draft draft(file);
  static_cast<void>(open_existing(location));  // says what is missing better than the service does
  firebird::back_up(catalog_access(location), location.database, [&](std::string_view piece) { draft.write(piece); });
  return draft.publish();
}

}  // namespace syncropy

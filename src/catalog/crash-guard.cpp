#include "catalog/crash-guard.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "util/error.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::size_t mark_bytes = 64;
constexpr std::size_t id_digits = 32;
constexpr const char* unknown_boot = "unknown";  // of a process that could not tell: no boot is the same
constexpr const char* upgrading = "upgrading";   // likewise

std::string mark_of(const std::string& database) { return database + ".unsynced"; }

std::string content_of(int fd) {
  std::string text(mark_bytes, '\0');
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return text.substr(0, text.find('\n'));
}

void sync_folder_of(const std::string& database) {
  const Fd folder(::open(std::filesystem::path(database).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) throw_errno(ExitStatus::io, "sync the folder of", database);
}

}  // namespace

std::string boot_id() {
  std::string id;
  if (const char* given = std::getenv("SYNCROPY_BOOT_ID")) {
    id = given;
  } else {
    try {
      id = read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", mark_bytes, ExitStatus::io);
    } catch (const Error&) {
      return {};
    }
  }
  std::erase_if(id, [](char c) { return c == '-' || c == '\n'; });
  const bool is_id = id.size() == id_digits && id.find_first_not_of("0123456789abcdef") == std::string::npos;
  return is_id ? id : "";
}

bool CrashGuard::is_unsafe(const std::string& database, const std::string& boot) {
  const Fd mark(::open(mark_of(database).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!mark) return false;
  const std::string noted = content_of(mark.get());
  return noted == upgrading || (!boot.empty() && !noted.empty() && noted != boot);
}

void CrashGuard::forgive(const std::string& database, const std::string& boot) {
  if (is_unsafe(database, boot) && ::truncate(mark_of(database).c_str(), 0) != 0) throw_errno(ExitStatus::repository, "empty", mark_of(database));
}

CrashGuard::CrashGuard(std::string database, std::string boot) : database_(std::move(database)) {
  const std::string name = mark_of(database_);
  mark_ = Fd(::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!mark_)
    throw_errno(errno == ENOENT ? ExitStatus::no_input : ExitStatus::repository, "open", name, "make the folder that the catalog lies in, and give it to this user");
  while (::flock(mark_.get(), LOCK_SH) != 0)
    if (errno != EINTR) throw_errno(ExitStatus::repository, "lock", name);
  const std::string noted = content_of(mark_.get());
  if (!noted.empty() && (noted != boot || boot.empty())) {
    if (::unlink(database_.c_str()) == 0) was_unsafe_ = true;
    else if (errno != ENOENT) throw_errno(ExitStatus::repository, "remove the catalog that was being written when the machine stopped,", database_);
  }
  boot_ = boot.empty() ? unknown_boot : std::move(boot);
  if (noted != boot_) note(boot_);
}

void CrashGuard::note(const std::string& content) {
  const std::string line = content + "\n";
  if (::ftruncate(mark_.get(), 0) != 0 || ::pwrite(mark_.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size()) || ::fsync(mark_.get()) != 0)
    throw_errno(ExitStatus::io, "write", mark_of(database_));
  sync_folder_of(database_);
}

void CrashGuard::begin_upgrade() { note(upgrading); }

void CrashGuard::end_upgrade() {
  const Fd database(::open(database_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!database || ::fsync(database.get()) != 0) throw_errno(ExitStatus::io, "sync", database_);
  note(boot_);
}

CrashGuard::~CrashGuard() {
  const Fd database(::open(database_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!database || ::fsync(database.get()) != 0) return;
  // Who else writes holds it too. A mark that cannot be taken away says too much, which costs time and loses nothing.
  if (content_of(mark_.get()) == upgrading) return;
  if (::flock(mark_.get(), LOCK_EX | LOCK_NB) != 0 || ::ftruncate(mark_.get(), 0) != 0) return;
  ::fsync(mark_.get());  // else a machine that stops soon would have its catalog made anew for nothing
}

}  // namespace syncropy

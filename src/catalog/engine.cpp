#include "catalog/engine.hpp"

#include <firebird/Interface.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string_view>

#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

// Classic: every attachment has its own page cache, kept right by the lock table, so that processes share a database.
// DefaultDbCachePages counts pages of 16 KiB per attachment: 4, 8, 16 and 32 MiB record equally fast and write the same pages. Nothing outside the
// database is reachable by SQL.
constexpr std::string_view engine_configuration =
    "# Written by syncropy at each start: changes are lost.\n"
    "ServerMode = Classic\n"
    "DefaultDbCachePages = 512\n"
    "ExternalFileAccess = None\n"
    "UdfAccess = None\n";

// What the engine makes at an attachment: a few files of 1 MiB each.
constexpr std::uint64_t lock_files_bytes = 8U << 20;
constexpr std::uint64_t lock_files = 16;

void replace_file(int folder, const std::string& name, std::string_view content) {
  struct stat now{};
  if (::fstatat(folder, name.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(now.st_mode) && now.st_size == static_cast<off_t>(content.size()) &&
      read_file(folder, name, content.size(), ExitStatus::repository) == content)
    return;
  static std::atomic<unsigned> count = 0;
  const std::string fresh = name + ".new-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
  ::unlinkat(folder, fresh.c_str(), 0);  // of a process with this number that was killed here
  create_file(folder, fresh, content, 0600);
  if (::renameat(folder, fresh.c_str(), folder, name.c_str()) != 0) throw_errno(ExitStatus::repository, "replace", name);
}

// The engine looks for its character sets in ROOT/intl whatever it was built with; without them it works, and complains in its log. It runs
// code that it finds there: only the link to the installed ones may stand in that place, whoever owns the folder.
void link_character_sets(int folder) {
  const std::string installed = Firebird::fb_get_master_interface()->getConfigManager()->getDirectory(Firebird::IConfigManager::DIR_INTL);
  std::string target(installed.size() + 1, '\0');
  const ssize_t length = ::readlinkat(folder, "intl", target.data(), target.size());
  if (length >= 0 && std::string_view(target.data(), static_cast<std::size_t>(length)) == installed) return;
  const bool is_there = length >= 0 || errno != ENOENT;
  if (length < 0 && is_there && errno != EINVAL) throw_errno(ExitStatus::repository, "read the symbolic link", "intl");
  // Of a link or a file the name goes; a folder is nobody's but a person's to remove.
  if (is_there && ::unlinkat(folder, "intl", 0) != 0 && errno != ENOENT)
    throw_errno(ExitStatus::repository, "replace", "intl in the folder of the embedded Firebird engine", "look who has put it there, and remove it");
  if (::symlinkat(installed.c_str(), folder, "intl") == 0) return;
  // Another process of ours may have been faster.
  const ssize_t now = errno == EEXIST ? ::readlinkat(folder, "intl", target.data(), target.size()) : -1;
  if (now < 0 || std::string_view(target.data(), static_cast<std::size_t>(now)) != installed)
    throw_errno(ExitStatus::repository, "make the symbolic link", "intl");
}

void prepare(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    throw_errno(ExitStatus::repository, "make the folder of the embedded Firebird engine", folder,
                "make the folder it lies in writable for this user");
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throw_errno(ExitStatus::repository, "open the folder of the embedded Firebird engine", folder);
  replace_file(fd.get(), "firebird.conf", engine_configuration);
  replace_file(fd.get(), "plugins.conf", "");
  replace_file(fd.get(), "databases.conf", "");
  if (::setenv("FIREBIRD", folder.c_str(), 1) != 0 || ::setenv("FIREBIRD_LOCK", folder.c_str(), 1) != 0)
    throw_errno(ExitStatus::internal, "set the environment for", folder);
  link_character_sets(fd.get());
  const char* root = Firebird::fb_get_master_interface()->getConfigManager()->getRootDirectory();
  if (!std::filesystem::equivalent(root, folder))
    throw Error(ExitStatus::internal, "Firebird was used before its folder " + escape(folder) + " was known",
                "open the embedded catalog before any networked one");
}

}  // namespace

void use_engine_folder(const std::string& folder) {
  static std::mutex mutex;
  static std::string used;
  const std::lock_guard lock(mutex);
  if (used == folder) return;
  if (!used.empty())
    throw Error(ExitStatus::internal, "a second folder of the embedded Firebird engine, " + escape(folder) + " after " + escape(used),
                "use one process for each");
  prepare(folder);
  used = folder;
}

Fd lock_opening(const std::string& folder, bool alone) {
  const std::string name = folder + "/opening.lock";
  Fd fd(::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw_errno(ExitStatus::repository, "open", name);
  while (::flock(fd.get(), alone ? LOCK_EX : LOCK_SH) != 0)
    if (errno != EINTR) throw_errno(ExitStatus::repository, "lock", name);
  return fd;
}

void remove_leftovers(const std::string& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return;
  // Held by the engine from before it opens such a file until it has its lock.
  const Fd opening(::openat(fd.get(), "fb_init", O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!opening || ::flock(opening.get(), LOCK_EX | LOCK_NB) != 0) return;
  bool traced = false;  // then the files without a lock of their own are in use
  for (const std::string& name : names_in(fd.get())) {
    if (!name.starts_with("fb12_") && !name.starts_with("fb_lock_")) continue;
    const Fd file(::openat(fd.get(), name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::unlinkat(fd.get(), name.c_str(), 0);
    else traced = true;
  }
  if (traced) return;
  for (const std::string& name : names_in(fd.get()))
    if (name.starts_with("fb_trace_")) ::unlinkat(fd.get(), name.c_str(), 0);
}

void expect_room(const std::string& folder) {
  struct statvfs room{};
  if (::statvfs(folder.c_str(), &room) != 0) throw_errno(ExitStatus::io, "look at the filesystem of", folder);
  const bool fits =
      static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize >= lock_files_bytes && (room.f_files == 0 || room.f_favail >= lock_files);
  if (!fits)
    throw Error(ExitStatus::io, "the disk is full: the locks of the embedded Firebird engine do not fit into " + escape(folder),
                "free space or inodes on that filesystem, then run again; nothing that was published is touched");
}

void hold_room(const std::string& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return;
  for (const std::string& name : names_in(fd.get())) {
    if (name.ends_with(".fdb")) continue;  // a database is no lock; and this makes what was left of one look new
    const Fd file(::openat(fd.get(), name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    struct stat st{};
    if (!file || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) continue;
    // Where the filesystem cannot, things stay as they were: posix_fallocate(3) would write into what others have mapped.
    static_cast<void>(::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, st.st_size));
  }
}

void return_engine_files(const std::string& folder, const std::string& database) {
  if (::geteuid() != 0) return;
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat owner{}, file{};
  if (!fd || ::stat(database.c_str(), &owner) != 0 || owner.st_uid == 0) return;
  if (::fchown(fd.get(), owner.st_uid, owner.st_gid) != 0) throw_errno(ExitStatus::io, "give back to its owner", folder);
  for (const std::string& name : names_in(fd.get()))
    if (::fstatat(fd.get(), name.c_str(), &file, AT_SYMLINK_NOFOLLOW) == 0 && file.st_uid != owner.st_uid &&
        ::fchownat(fd.get(), name.c_str(), owner.st_uid, owner.st_gid, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOENT)
      throw_errno(ExitStatus::io, "give back to its owner", folder + "/" + name);
}

}  // namespace syncropy

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "catalog/access.hpp"
#include "catalog/crash-guard.hpp"
#include "catalog/engine.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

CatalogLocation draft_of(const CatalogLocation& location) {
  if (!location.host.empty()) throw Error(ExitStatus::internal, "a draft of a networked catalog", "report this as a defect");
  CatalogLocation draft = location;
  draft.database += ".rebuilding";
  return draft;
}

}  // namespace

Catalog Catalog::create_draft(const CatalogLocation& location) {
  const CatalogLocation draft = draft_of(location);
  if (::unlink(draft.database.c_str()) != 0 && errno != ENOENT) throw_errno(ExitStatus::repository, "remove", draft.database);
  use_engine_folder(draft.engine_folder);
  const Fd lock = lock_opening(draft.engine_folder, true);
  remove_leftovers(draft.engine_folder);
  expect_room(draft.engine_folder);
  static_cast<void>(firebird::Attachment::create(catalog_access(draft), false));
  return open_unguarded(draft);
}

void Catalog::publish_draft(const CatalogLocation& location) {
  const CatalogLocation draft = draft_of(location);
  const Fd file(::open(draft.database.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) throw_errno(ExitStatus::io, "open", draft.database);
  struct stat old{};
  if (::stat(location.database.c_str(), &old) == 0 && S_ISREG(old.st_mode)) ::fchmod(file.get(), old.st_mode & 07777);
  if (::fsync(file.get()) != 0) throw_errno(ExitStatus::io, "sync", draft.database);
  const Fd lock = lock_opening(location.engine_folder, true);
  if (::rename(draft.database.c_str(), location.database.c_str()) != 0)
    throw_errno(ExitStatus::repository, "put the new catalog in the place of", location.database, "move away what is there, and look who has put it there");
  const Fd folder(::open(std::filesystem::path(location.database).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) throw_errno(ExitStatus::io, "sync the folder of", location.database);
  CrashGuard::forgive(location.database, boot_id());
}

void Catalog::discard_draft(const CatalogLocation& location) noexcept { ::unlink((location.database + ".rebuilding").c_str()); }

}  // namespace syncropy

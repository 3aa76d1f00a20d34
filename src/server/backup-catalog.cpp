#include "server/backup-catalog.hpp"

#include <string>

#include "catalog/catalog.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "server/record.hpp"
#include "util/escape.hpp"
#include "util/format.hpp"

namespace syncropy {

ExitStatus back_up_catalog(const ServerSettings& settings, const Repository& repository, ExitStatus status) {
  const std::string& file = settings.database.backup;
  if (file.empty()) return status;
  try {
    const std::uint64_t bytes = Catalog::back_up(catalog_location(settings.database, repository), file);
    log(Priority::info, "the catalog is backed up to " + escape(file) + ", " + format_bytes(bytes));
    return status;
  } catch (const Error& error) {
    log(Priority::error, "the catalog is not backed up to " + escape(file) + ": " + error.line() + "; the backup before, if there is one, is still there", {},
        message_id::catalog_not_backed_up);
    return status == ExitStatus::success ? ExitStatus::not_recorded : status;
  }
}

}  // namespace syncropy

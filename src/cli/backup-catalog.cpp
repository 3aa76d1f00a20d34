#include <fmt/format.h>

#include <filesystem>

#include "catalog/catalog.hpp"
#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "server/record.hpp"
#include "util/escape.hpp"
#include "util/format.hpp"

namespace syncropy {

ExitStatus verb_backup_catalog(const std::string& config, const std::string& file) {
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::of_database);
  const std::string to = file.empty() ? settings.database.backup : std::filesystem::absolute(file).string();
  if (to.empty())
    throw Error(ExitStatus::usage, "no file is named for the backup", "write 'syncropy backup-catalog FILE', or 'backup: FILE' in section database of " + escape(settings.file));
  become_owner_of(settings.repository);
  const Repository repository = Repository::open(settings.repository, false);
  const std::uint64_t bytes = Catalog::back_up(catalog_location(settings.database, repository), to);
  fmt::print("{} holds the catalog, {}\n", escape(to), format_bytes(bytes));
  return ExitStatus::success;
}

}  // namespace syncropy

#include <fmt/format.h>

#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "server/complete.hpp"

namespace syncropy {

ExitStatus verb_complete(const std::string& config, const std::vector<std::string>& words) {
  try {
    if (words.empty()) return ExitStatus::success;
    const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::none);
    become_owner_of(settings.repository);
    const Repository repository = Repository::open(settings.repository, false);
    const std::string& typed = words.back();
    for (const std::string& candidate : words.size() == 1 ? complete_dataset(repository, typed) : complete_path(repository, words.front(), typed))
      fmt::print("{}\n", candidate);
  } catch (const Error&) {
    // Whoever presses a key wants a name, and no explanation why there is none.
  }
  return ExitStatus::success;
}

}  // namespace syncropy

#include <cstdio>

#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"

namespace syncropy {

ExitStatus verb_init(const std::string& config) {
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::none);
  Repository::create(settings.repository);
  std::printf("made the repository %s\n", settings.repository.c_str());
  return ExitStatus::success;
}

}  // namespace syncropy

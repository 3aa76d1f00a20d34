#include <algorithm>
#include <filesystem>
#include <vector>

#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "util/escape.hpp"

namespace syncropy {

std::vector<std::string> configuration_files() {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(config_folder(), ignored)) {
    const std::string extension = entry.path().extension(), name = entry.path().filename();
    if ((extension == ".yaml" || extension == ".cfg") && name != "agent.yaml") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string configuration_file(const std::string& config) {
  if (!config.empty()) return find_config(config);
  const std::string folder = config_folder();
  const std::vector<std::string> found = configuration_files();
  if (found.empty()) throw Error(ExitStatus::no_input, "there is no configuration in " + folder, "write one (syncropy.yaml(5)), or name one with -c FILE");
  if (found.size() > 1) {
    std::string names;
    for (const std::string& file : found) names += (names.empty() ? "" : ", ") + escape(std::filesystem::path(file).stem().string());
    throw Error(ExitStatus::usage, "there are several configurations in " + folder, "name one with -c: " + names);
  }
  return found.front();
}

}  // namespace syncropy

#include <sys/stat.h>

#include <cstdlib>

#include "config/settings.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

bool is_file(const std::string& path) {
  struct stat st{};
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

// NAME.yaml or NAME.cfg in the folder of configurations; empty where there is neither.
std::string file_named(const std::string& name) {
  const std::string stem = config_folder() + "/" + name;
  const bool yaml = is_file(stem + ".yaml"), ini = is_file(stem + ".cfg");
  if (yaml && ini) throw Error(ExitStatus::config, "both " + escape(stem) + ".yaml and " + escape(stem) + ".cfg exist", "remove or rename one, or name the file that is meant");
  return yaml || ini ? stem + (yaml ? ".yaml" : ".cfg") : std::string();
}

constexpr std::pair<std::string_view, Tier> suffixes[] = {{"-hourly", Tier::hour}, {"-daily", Tier::day}, {"-weekly", Tier::week}, {"-monthly", Tier::month}};

}  // namespace

std::string config_folder() {
  const char* folder = std::getenv("SYNCROPY_CONFIG_FOLDER");
  return folder != nullptr && *folder != '\0' ? folder : SYNCROPY_CONFIG_FOLDER;
}

std::string find_config(const std::string& name_or_file) {
  if (is_file(name_or_file)) return name_or_file;
  if (name_or_file.empty() || name_or_file.find('/') != std::string::npos)
    throw Error(ExitStatus::no_input, "there is no configuration '" + escape(name_or_file) + "'", "check the name; a name without a slash is looked for in " + escape(config_folder()));
  if (std::string file = file_named(name_or_file); !file.empty()) return file;
  const std::string stem = config_folder() + "/" + name_or_file;
  throw Error(ExitStatus::no_input, "there is no configuration '" + escape(name_or_file) + "': neither a file of that name, nor " + escape(stem) + ".yaml or " + escape(stem) + ".cfg",
              "check the name, or write it (syncropy.yaml(5))");
}

std::string find_config_named(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos)
    throw Error(ExitStatus::config, "'" + escape(name) + "' is not the name of a configuration", "it is NAME of NAME.yaml or NAME.cfg in " + escape(config_folder()));
  if (std::string file = file_named(name); !file.empty()) return file;
  std::string remedy = "write it (syncropy.yaml(5)), or disable what starts this: systemctl disable --now syncropy@" + escape(name) + ".target";
  for (const auto& [suffix, tier] : suffixes)
    if (const std::string longer = file_named(name + std::string(suffix)); !longer.empty())
      remedy = "there is " + escape(longer) + ", whose instances are " + escape(name) + std::string(suffix) + "-hourly, -daily, -weekly and -monthly";
  const std::string stem = escape(config_folder() + "/" + name);
  throw Error(ExitStatus::config, "there is no configuration '" + escape(name) + "': neither " + stem + ".yaml nor " + stem + ".cfg", std::move(remedy));
}

Instance parse_instance(const std::string& instance) {
  for (const auto& [suffix, tier] : suffixes)
    if (instance.size() > suffix.size() && instance.ends_with(suffix)) return {instance.substr(0, instance.size() - suffix.size()), tier};
  throw Error(ExitStatus::usage, "'" + escape(instance) + "' names no config and tier", "write NAME-hourly, NAME-daily, NAME-weekly or NAME-monthly");
}

}  // namespace syncropy

// syncropy(1): the operator's command.

#include <CLI/CLI.hpp>

#include "cli/exit.hpp"
#include "cli/verbs.hpp"
#include "sd/journal.hpp"
#include "util/version.hpp"

namespace syncropy {
namespace {

int operate(int argc, char** argv) {
  CLI::App app("Looks into what Syncropy has backed up.", "syncropy");
  app.set_version_flag("--version", std::string("syncropy ") + version);
  std::string config, what, path, query, check;
  bool json = false, recursive = false;
  app.add_option("-c,--cfg", config, "configuration: a file, or the NAME of /etc/syncropy/NAME.yaml (default: the only one there)")->type_name("FILE");
  app.require_subcommand(1);
  app.fallthrough();

  auto* init = app.add_subcommand("init", "make the repository that the configuration names");
  auto* list = app.add_subcommand("list", "list datasets");
  list->add_option("WHAT", what, "CLIENT or CLIENT/TIER; all without");
  list->add_flag("--json", json, "one JSON object a line");
  auto* ls = app.add_subcommand("ls", "list what is in a dataset");
  ls->add_option("DATASET", what, "CLIENT, CLIENT/TIER, CLIENT/TIER/NAME or CLIENT@TIME")->required();
  ls->add_option("PATH", path, "a path on the client; a folder is listed with what is in it");
  ls->add_flag("-R,--recursive", recursive, "with everything below");
  auto* check_config = app.add_subcommand("check-config", "check a configuration and say what it means");
  check_config->add_option("FILE", check, "a file, or a NAME");
  auto* sql = app.add_subcommand("sql", "ask the catalog: views DATASETS, FILES, FILE_HISTORY, ACLS, XATTRS");
  sql->add_option("QUERY", query, "a SELECT statement")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitStatus::usage);
  }
  open_log("syncropy", Priority::info);
  if (*init) return static_cast<int>(verb_init(config));
  if (*list) return static_cast<int>(verb_list(config, what, json));
  if (*ls) return static_cast<int>(verb_ls(config, what, path, recursive));
  if (*check_config) return static_cast<int>(verb_check_config(check.empty() ? config : check));
  if (*sql) return static_cast<int>(verb_sql(config, query));
  return static_cast<int>(ExitStatus::usage);
}

}  // namespace
}  // namespace syncropy

int main(int argc, char** argv) {
  return syncropy::end_with("syncropy", [&] { return syncropy::operate(argc, argv); });
}

// syncropy-server(8): one run of one config in one tier, and the classic program's questions about datasets.

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "cli/exit.hpp"
#include "cli/owner.hpp"
#include "cli/parse.hpp"
#include "config/settings.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "sd/service.hpp"
#include "server/delete.hpp"
#include "server/run.hpp"
#include "server/select.hpp"
#include "util/escape.hpp"
#include "util/signals.hpp"
#include "util/version.hpp"

namespace syncropy {
namespace {

constexpr const char* exit_statuses =
    "Exit status:\n"
    "  0  every client was backed up          69  agent or database server does not answer\n"
    "  1  clients failed for several reasons  70  defect\n"
    "  2  command line                        73  repository missing, not ours, not writable\n"
    "  3  partial: some files were unreadable 74  disk full or failing\n"
    "  4  not recorded in the catalog         75  another run holds the lock\n"
    "  5  pre- or post-command failed         76  connection cut, stalled, or not to the protocol\n"
    "  65 damaged data                        77  certificate or policy refuses\n"
    "  66 something named does not exist      78  configuration\n"
    "  71 out of memory or threads\n";

Priority priority_of(LogLevel level) {
  switch (level) {
    case LogLevel::error: return Priority::error;
    case LogLevel::warning: return Priority::warning;
    case LogLevel::info: return Priority::info;
    case LogLevel::debug: return Priority::debug;
  }
  return Priority::info;
}

// The newest dataset of the tier, a line per client; "-" where there is none.
ExitStatus print_last_datasets(const ServerSettings& settings, const std::vector<const ClientSettings*>& clients, Tier tier) {
  const Repository repository = Repository::open(settings.repository, false);
  const std::vector<std::string> known = repository.clients();
  for (const ClientSettings* client : clients) {
    std::string line = client->name + " -";
    if (std::find(known.begin(), known.end(), client->name) != known.end())
      for (const StoredDataset& dataset : repository.client(client->name).datasets().good)
        if (dataset.info.tier == tier) line = client->name + " " + dataset.info.name + " " + std::to_string(dataset.info.sequence);
    std::puts(line.c_str());
  }
  return ExitStatus::success;
}

int serve(int argc, char** argv) {
  CLI::App app(
      "Backs up the clients of one config into one tier: pulls from their agents, publishes one dataset a client, records it in the catalog.",
      "syncropy-server");
  app.footer(exit_statuses);
  std::string file, instance, delete_id;
  bool hour = false, day = false, week = false, month = false, last = false;
  RunOptions options;
  app.set_version_flag("--version", std::string("syncropy-server ") + version);
  auto* config_option = app.add_option("-c,--cfg", file, "configuration: a file, or the NAME of /etc/syncropy/NAME.yaml")->type_name("FILE");
  auto* tiers = app.add_option_group("tier");
  tiers->add_flag("-H,--hour", hour, "back up into tier hour");
  tiers->add_flag("-D,--day", day, "back up into tier day");
  tiers->add_flag("-W,--week", week, "back up into tier week");
  tiers->add_flag("-M,--month", month, "back up into tier month");
  app.add_option("--instance", instance, "config and tier in one word, as units name them: prod-hourly, -daily, -weekly, -monthly")
      ->type_name("NAME-TIER")
      ->excludes(config_option);
  app.add_flag("-r,--reload-dataset", options.reload, "replace the newest dataset of the tier instead of adding one");
  app.add_option("--client", options.only, "only this client of the config (may be repeated)")->type_name("NAME");
  app.add_option("--lock-wait", options.lock_wait_seconds, "how long to wait for another run of the same client")
      ->type_name("SECONDS")
      ->capture_default_str();
  auto* del =
      app.add_option("--del-dataset", delete_id,
                     "delete one dataset: CLIENT/TIER/NAME, or its name or sequence number in the tier where that fits one client "
                     "of the config, or of those named with --client")
          ->type_name("ID");
  app.add_flag("--get-last-dataset", last, "print the newest dataset of the tier, a line per client")->excludes(del);
  if (const std::optional<int> ended = parse_arguments(app, "syncropy-server", argc, argv)) return *ended;
  open_log("syncropy-server", Priority::info);
  if (hour + day + week + month > 1 || (!instance.empty() && hour + day + week + month > 0))
    throw Error(ExitStatus::usage, "more than one tier is named", "name one of -H, -D, -W, -M, or --instance alone");
  options.tier = day ? Tier::day : week ? Tier::week : month ? Tier::month : Tier::hour;
  if (!instance.empty()) {
    const Instance parsed = parse_instance(instance);
    options.tier = parsed.tier;
    set_log_fields({{"SYNCROPY_CONFIG", escape(parsed.config)}, {"SYNCROPY_TIER", std::string(name_of(parsed.tier))}});
    file = find_config_named(parsed.config);
  } else if (hour + day + week + month == 0) {
    throw Error(ExitStatus::usage, "no tier is named", "add -H, -D, -W or -M, or use --instance NAME-hourly");
  }
  if (file.empty()) throw Error(ExitStatus::usage, "no configuration is named", "add --cfg FILE, or use --instance NAME-hourly");
  const ServerSettings settings = load_server_settings(find_config(file));
  set_log_fields({{"SYNCROPY_CONFIG", escape(settings.name)}, {"SYNCROPY_TIER", std::string(name_of(options.tier))}});
  open_log("syncropy-server", priority_of(settings.log_level), settings.log_file);
  become_owner_of(settings.repository);
  const std::vector<const ClientSettings*> clients = wanted_clients(settings, options.only);
  if (last) return static_cast<int>(print_last_datasets(settings, clients, options.tier));
  if (del->count() > 0) return static_cast<int>(delete_dataset(settings, clients, options.tier, delete_id, options.lock_wait_seconds));
  return static_cast<int>(run(settings, options));
}

}  // namespace
}  // namespace syncropy

int main(int argc, char** argv) {
  syncropy::raise_open_files();
  return syncropy::end_with("syncropy-server", [&] {
    syncropy::tell_crashes_of("syncropy-server", "published datasets stay as they are, and the next run cleans up; if that crashes too, please report it");
    const syncropy::SignalWatch signals([](int number) {
      syncropy::notify_status(std::string("ended by SIG") + ::sigabbrev_np(number));
      syncropy::log(syncropy::Priority::warning, std::string("ended by SIG") + ::sigabbrev_np(number) + ": what was not published yet is lost, and the next run cleans up",
                    {{"SYNCROPY_SIGNAL", std::to_string(number)}}, syncropy::message_id::interrupted);
    });
    return syncropy::serve(argc, argv);
  }, syncropy::message_id::of_failure);
}

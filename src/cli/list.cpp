#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>

#include "catalog/catalog.hpp"
#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/damage.hpp"
#include "repository/repository.hpp"
#include "sd/journal.hpp"
#include "server/progress.hpp"
#include "server/record.hpp"
#include "server/select.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

struct Filter {
  std::string client;
  std::optional<Tier> tier;
};

Filter parse_filter(const std::string& what) {
  Filter filter;
  const std::size_t slash = what.find('/');
  filter.client = what.substr(0, slash);
  if (slash == std::string::npos) return filter;
  filter.tier = tier_from_name(what.substr(slash + 1));
  if (!filter.tier)
    throw Error(ExitStatus::usage, "'" + escape(what) + "' does not name a client or a tier of one",
                "write CLIENT or CLIENT/TIER, with TIER one of hour, day, week, month");
  return filter;
}

std::string name_and_sequence(const DatasetInfo& info) { return full_name(info) + " " + std::to_string(info.sequence); }

// What the catalog knows, as name_and_sequence() of each; none when it is away (which is said on standard error).
std::optional<std::set<std::string>> recorded_datasets(const ServerSettings& settings, const Repository& repository) {
  try {
    Catalog catalog = Catalog::open_existing(catalog_location(settings.database, repository));
    std::set<std::string> recorded;
    for (const RecordedDataset& dataset : catalog.datasets()) recorded.insert(name_and_sequence(dataset.info));
    return recorded;
  } catch (const Error& error) {
    log(Priority::warning, "what the catalog knows cannot be told: " + error.line());
    return std::nullopt;
  }
}

struct ListedDataset {
  DatasetInfo info;
  std::uint64_t damaged = 0;  // paths of which verify has found that they are not as they should be
  [[nodiscard]] std::string state() const {
    return std::string(info.completeness == Completeness::complete ? "complete" : "partial") +
           (damaged > 0 ? ", " + format_count(damaged) + " damaged" : "");
  }
};

std::uint64_t damaged_paths(const ClientStore& store, const DatasetInfo& info) {
  try {
    const DamageList damage = DamageList::read(store.open_dataset(info.tier, info.name).get());
    return damage.everything() ? info.entries : damage.paths().size() + (damage.manifest() ? 1 : 0);
  } catch (const Error& error) {
    if (error.status() != ExitStatus::no_input) throw;  // it has expired since it was listed
    return 0;
  }
}

void print_json(const ListedDataset& listed, std::string_view recorded) {
  const DatasetInfo& info = listed.info;
  fmt::print(
      R"({{"client":"{}","tier":"{}","name":"{}","sequence":{},"started":"{}","finished":"{}","complete":{},"entries":{},"files":{},)"
      R"("bytes":{},"new_files":{},"new_bytes":{},"problems":{},"damaged":{},"recorded":{}}})"
      "\n",
      info.client, name_of(info.tier), info.name, info.sequence, format_time(info.started.seconds), format_time(info.finished.seconds),
      info.completeness == Completeness::complete, info.entries, info.files, info.bytes, info.new_files, info.new_bytes, info.problems,
      listed.damaged, recorded);
}

}  // namespace

ExitStatus verb_list(const std::string& config, const std::string& what, bool json) {
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::of_database);
  const Filter filter = parse_filter(what);
  become_owner_of(settings.repository);
  const Repository repository = Repository::open(settings.repository, false);
  const std::vector<std::string> clients = filter.client.empty() ? repository.clients() : std::vector{filter.client};
  const auto recorded = recorded_datasets(settings, repository);
  std::vector<ListedDataset> datasets;
  for (const std::string& client : clients) {
    const ClientStore store = repository.client(client);
    const ClientStore::Datasets all = store.datasets();
    for (const StoredDataset& dataset : all.good)
      if (!filter.tier || dataset.info.tier == *filter.tier) datasets.push_back({dataset.info, damaged_paths(store, dataset.info)});
    for (const DamagedDataset& damaged : all.damaged)
      log(Priority::warning, client + "/" + std::string(name_of(damaged.tier)) + "/" + damaged.name + " is damaged: " + damaged.why);
  }
  auto in_catalog = [&](const DatasetInfo& info) { return !recorded ? "unknown" : recorded->contains(name_and_sequence(info)) ? "yes" : "no"; };
  if (json) {
    for (const ListedDataset& listed : datasets) {
      const std::string_view known = in_catalog(listed.info);
      print_json(listed, known == "yes" ? "true" : known == "no" ? "false" : "null");
    }
    return ExitStatus::success;
  }
  if (datasets.empty()) {
    fmt::print("no datasets in {}\n", settings.repository);
    return ExitStatus::success;
  }
  std::size_t width = 7, state_width = 8;
  for (const ListedDataset& listed : datasets) {
    width = std::max(width, full_name(listed.info).size());
    state_width = std::max(state_width, listed.state().size());
  }
  fmt::print("{:<{}}  {:>4}  {:>11}  {:>10}  {:>9}  {:>10}  {:<{}}  {}\n", "DATASET", width, "SEQ", "ENTRIES", "SIZE", "NEW FILES", "NEW SIZE",
             "STATE", state_width, "CATALOG");
  for (const ListedDataset& listed : datasets) {
    const DatasetInfo& info = listed.info;
    fmt::print("{:<{}}  {:>4}  {:>11}  {:>10}  {:>9}  {:>10}  {:<{}}  {}\n", full_name(info), width, info.sequence, format_count(info.entries),
               format_bytes(info.bytes), format_count(info.new_files), format_bytes(info.new_bytes), listed.state(), state_width, in_catalog(info));
  }
  return ExitStatus::success;
}

}  // namespace syncropy

#include "server/select.hpp"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <optional>

#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr const char* grammar = "write CLIENT, CLIENT/TIER, CLIENT/TIER/NAME or CLIENT@TIME, with TIER one of hour, day, week, month";

// The last second that `text` can mean.
std::optional<std::int64_t> parse_time(std::string text) {
  if (const auto stamp = dataset_time(text)) return stamp;
  if (text.ends_with('Z')) text.pop_back();
  struct Form {
    const char* format;
    std::int64_t width;
  };
  for (const Form& form : {Form{"%Y-%m-%dT%H:%M:%S", 1}, Form{"%Y-%m-%d %H:%M:%S", 1}, Form{"%Y-%m-%dT%H:%M", 60}, Form{"%Y-%m-%d %H:%M", 60},
                           Form{"%Y-%m-%d", 86'400}}) {
    std::tm parts{};
    const char* end = ::strptime(text.c_str(), form.format, &parts);
    if (end != nullptr && *end == '\0') return static_cast<std::int64_t>(::timegm(&parts)) + form.width - 1;
  }
  return std::nullopt;
}

Error no_dataset(const std::string& wanted, const std::vector<StoredDataset>& near) {
  std::string list;
  const std::size_t first = near.size() > 5 ? near.size() - 5 : 0;
  for (std::size_t i = first; i < near.size(); ++i) list += (list.empty() ? "" : ", ") + full_name(near[i].info);
  return Error(ExitStatus::no_input, "there is no dataset " + wanted, near.empty() ? "the client has none" : "there are " + list);
}

// What is to be deleted is never guessed: no name means no dataset here, unlike for select_dataset().
template <typename IsWanted>
DoomedDataset doomed_by_full_name(const Repository& repository, IsWanted&& is_wanted, std::string_view text) {
  const std::size_t first = text.find('/'), second = text.find('/', first + 1);
  const DoomedDataset named{std::string(text.substr(0, first)), tier_from_name(text.substr(first + 1, second - first - 1)).value_or(Tier{}),
                            second == std::string_view::npos ? "" : std::string(text.substr(second + 1))};
  if (named.tier == Tier{} || !is_client_name(named.client) || !is_dataset_name(named.name))
    throw Error(ExitStatus::usage, "'" + escape(text) + "' does not name one dataset",
                "write CLIENT/TIER/NAME in full, with TIER one of hour, day, week, month");
  const std::vector<std::string> known = repository.clients();
  const ClientStore::Datasets all =
      std::find(known.begin(), known.end(), named.client) == known.end() ? ClientStore::Datasets{} : repository.client(named.client).datasets();
  auto is_it = [&](Tier tier, const std::string& name) { return tier == named.tier && name == named.name; };
  if (std::none_of(all.good.begin(), all.good.end(), [&](const StoredDataset& dataset) { return is_it(dataset.info.tier, dataset.info.name); }) &&
      std::none_of(all.damaged.begin(), all.damaged.end(), [&](const DamagedDataset& dataset) { return is_it(dataset.tier, dataset.name); }))
    throw no_dataset(escape(text), all.good);
  if (!is_wanted(named.client))
    throw Error(ExitStatus::usage, "'" + escape(text) + "' belongs to no client of this config, or to none named with --client",
                "name a dataset of one of these clients");
  return named;
}

}  // namespace

std::string full_name(const std::string& client, Tier tier, const std::string& name) {
  return client + "/" + std::string(name_of(tier)) + "/" + name;
}

std::string full_name(const DatasetInfo& info) { return full_name(info.client, info.tier, info.name); }

SelectedDataset select_dataset(const Repository& repository, std::string_view text) {
  const std::string wanted = escape(text);
  const std::size_t cut = text.find_first_of("/@");
  const std::string client(text.substr(0, cut));
  if (!is_client_name(client)) throw Error(ExitStatus::usage, "'" + wanted + "' does not name a dataset", grammar);
  ClientStore store = repository.client(client);
  std::vector<StoredDataset> datasets = store.datasets().good;
  if (cut != std::string_view::npos && text[cut] == '@') {
    const std::optional<std::int64_t> time = parse_time(std::string(text.substr(cut + 1)));
    if (!time)
      throw Error(ExitStatus::usage, "'" + wanted + "' does not name a time",
                  "write it in UTC as 2026-11-22, 2026-11-22T19:05 or 2026-11-22T19:05:00");
    const auto found =
        std::find_if(datasets.rbegin(), datasets.rend(), [&](const StoredDataset& dataset) { return dataset.info.started.seconds <= *time; });
    if (found == datasets.rend()) throw no_dataset(wanted, datasets);
    return {std::move(store), found->info};
  }
  if (cut != std::string_view::npos) {
    const std::string_view rest = text.substr(cut + 1);
    const std::size_t slash = rest.find('/');
    const std::optional<Tier> tier = tier_from_name(rest.substr(0, slash));
    if (!tier) throw Error(ExitStatus::usage, "'" + wanted + "' does not name a tier", grammar);
    std::erase_if(datasets, [&](const StoredDataset& dataset) { return dataset.info.tier != *tier; });
    if (slash != std::string_view::npos) {
      const std::string_view name = rest.substr(slash + 1);
      const auto found = std::find_if(datasets.begin(), datasets.end(), [&](const StoredDataset& dataset) { return dataset.info.name == name; });
      if (found == datasets.end()) throw no_dataset(wanted, datasets);
      return {std::move(store), found->info};
    }
  }
  if (datasets.empty()) throw no_dataset(wanted, datasets);
  return {std::move(store), datasets.back().info};
}

DoomedDataset select_for_deletion(const Repository& repository, const std::vector<std::string>& clients, Tier tier, std::string_view id) {
  auto is_wanted = [&](const std::string& client) { return std::find(clients.begin(), clients.end(), client) != clients.end(); };
  if (id.find('/') != std::string_view::npos) return doomed_by_full_name(repository, is_wanted, id);
  std::vector<DoomedDataset> found;
  const std::vector<std::string> known = repository.clients();
  for (const std::string& client : clients) {
    if (std::find(known.begin(), known.end(), client) == known.end()) continue;
    for (const StoredDataset& dataset : repository.client(client).datasets().good)
      if (dataset.info.tier == tier && (dataset.info.name == id || std::to_string(dataset.info.sequence) == id))
        found.push_back({client, tier, dataset.info.name});
  }
  if (found.empty())
    throw Error(ExitStatus::no_input, "no client asked for has a dataset '" + escape(id) + "' in tier " + std::string(name_of(tier)),
                "'syncropy list' shows names and sequence numbers");
  if (found.size() > 1) {
    std::string list;
    for (const DoomedDataset& dataset : found) list += (list.empty() ? "" : ", ") + full_name(dataset.client, dataset.tier, dataset.name);
    throw Error(ExitStatus::usage, "'" + escape(id) + "' fits more than one dataset: " + list,
                "name one of these in full, or its client with --client");
  }
  return found.front();
}

}  // namespace syncropy

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
  for (const Form& form : {Form{"%Y-%m-%dT%H:%M:%S", 1}, Form{"%Y-%m-%d %H:%M:%S", 1}, Form{"%Y-%m-%dT%H:%M", 60}, Form{"%Y-%m-%d %H:%M", 60}, Form{"%Y-%m-%d", 86'400}}) {
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

}  // namespace

std::string full_name(const DatasetInfo& info) { return info.client + "/" + std::string(name_of(info.tier)) + "/" + info.name; }

SelectedDataset select_dataset(const Repository& repository, std::string_view text) {
  const std::string wanted = escape(text);
  const std::size_t cut = text.find_first_of("/@");
  const std::string client(text.substr(0, cut));
  if (!is_client_name(client)) throw Error(ExitStatus::usage, "'" + wanted + "' does not name a dataset", grammar);
  ClientStore store = repository.client(client);
  std::vector<StoredDataset> datasets = store.datasets().good;
  if (cut != std::string_view::npos && text[cut] == '@') {
    const std::optional<std::int64_t> time = parse_time(std::string(text.substr(cut + 1)));
    if (!time) throw Error(ExitStatus::usage, "'" + wanted + "' does not name a time", "write it in UTC as 2026-11-22, 2026-11-22T19:05 or 2026-11-22T19:05:00");
    const auto found = std::find_if(datasets.rbegin(), datasets.rend(), [&](const StoredDataset& dataset) { return dataset.info.started.seconds <= *time; });
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

std::vector<DatasetInfo> select_for_deletion(const Repository& repository, const std::vector<std::string>& clients, Tier tier, std::string_view id) {
  if (id.find('/') != std::string_view::npos) {
    const SelectedDataset selected = select_dataset(repository, id);
    if (std::find(clients.begin(), clients.end(), selected.info.client) == clients.end())
      throw Error(ExitStatus::usage, "'" + escape(id) + "' belongs to no client of this config", "name a dataset of one of its clients");
    return {selected.info};
  }
  std::vector<DatasetInfo> found;
  const std::vector<std::string> known = repository.clients();
  for (const std::string& client : clients) {
    if (std::find(known.begin(), known.end(), client) == known.end()) continue;
    for (const StoredDataset& dataset : repository.client(client).datasets().good)
      if (dataset.info.tier == tier && (dataset.info.name == id || std::to_string(dataset.info.sequence) == id)) found.push_back(dataset.info);
  }
  if (found.empty())
    throw Error(ExitStatus::no_input, "no client of this config has a dataset '" + escape(id) + "' in tier " + std::string(name_of(tier)), "'syncropy list' shows names and sequence numbers");
  return found;
}

}  // namespace syncropy

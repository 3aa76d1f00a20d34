#pragma once
// Datasets by the names people type: CLIENT[/TIER[/NAME]] (no name: the newest) or CLIENT@TIME (the newest at or before).

#include <string>
#include <string_view>

#include "repository/repository.hpp"

namespace syncropy {

struct SelectedDataset {
  ClientStore store;
  DatasetInfo info;
};

// Throws Error: usage (not of that form), no_input (no such client or dataset; lists up to five that are near). TIME is UTC: "2026-11-22",
// "2026-11-22T19:05", "2026-11-22T19:05:00" (also with a final Z), or a dataset's own stamp; a day or minute counts to its end.
[[nodiscard]] SelectedDataset select_dataset(const Repository& repository, std::string_view text);

// "web1/hour/2026-11-22T190500Z".
[[nodiscard]] std::string full_name(const DatasetInfo& info);

// Deletes datasets that a classic command line names by `id` in `tier`: a dataset's name, its sequence number, or CLIENT/TIER/NAME.
// Of every client in `clients` that has it. Throws Error(no_input) when none has. Waits for each client's lock.
std::vector<DatasetInfo> select_for_deletion(const Repository& repository, const std::vector<std::string>& clients, Tier tier, std::string_view id);

}  // namespace syncropy

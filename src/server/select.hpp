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
[[nodiscard]] std::string full_name(const std::string& client, Tier tier, const std::string& name);

// The one dataset that a classic command line names by `id`: a name or a sequence number in `tier`, or CLIENT/TIER/NAME with nothing left
// out; of a damaged one only its full name. Throws Error: usage (not of that form, of none of `clients`, or fits several of them: lists all
// full names), no_input (none has it).
struct DoomedDataset {
  std::string client;
  Tier tier{};
  std::string name;
};
[[nodiscard]] DoomedDataset select_for_deletion(const Repository& repository, const std::vector<std::string>& clients, Tier tier,
                                                std::string_view id);

}  // namespace syncropy

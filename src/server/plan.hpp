#pragma once
// list -> plan -> receive: the merge-join of the agent's listing with the manifest of the newest dataset, which builds tree and manifest.

#include <functional>
#include <optional>
#include <string>

#include "config/settings.hpp"
#include "repository/manifest-store.hpp"
#include "repository/repository.hpp"
#include "server/agent-session.hpp"
#include "server/progress.hpp"

namespace syncropy {

// The client's newest dataset, of whichever tier, held against expiry.
struct PreviousDataset {
  DatasetInfo info;
  Fd folder;   // with a shared lock
};

// Fills `staging` (tree and manifest, all but the index's final word) from the client behind `agent`. `info` comes with client, tier, name,
// sequence, acl and started; the counts, completeness and finished are set here. `feed` gets the manifest's segments. `on_problem` gets one line for each file that could not be read. Throws
// Error for all that ends the run; staging is then to be discarded.
void take_dataset(AgentSession& agent, const ClientSettings& client, const std::optional<PreviousDataset>& previous, const Staging& staging,
                  DatasetInfo& info, Progress& progress, SegmentFeed& feed, const std::function<void(const std::string& path, const std::string& line)>& on_problem);

}  // namespace syncropy

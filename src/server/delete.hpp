#pragma once
// Deleting datasets by name, as a person asks for it.

#include <string>

#include "config/settings.hpp"
#include "model/dataset.hpp"

namespace syncropy {

// Deletes what `id` names (server/select.hpp: select_for_deletion) from repository and catalog. Returns success, not_recorded when the catalog
// could not be told (the next run does it), or busy when a dataset is being read.
[[nodiscard]] ExitStatus delete_datasets(const ServerSettings& settings, Tier tier, const std::string& id, unsigned lock_wait_seconds);

}  // namespace syncropy

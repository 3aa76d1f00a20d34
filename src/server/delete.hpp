#pragma once
// Deleting a dataset by name, as a person asks for it.

#include <string>
#include <vector>

#include "config/settings.hpp"
#include "model/dataset.hpp"

namespace syncropy {

// Deletes the one dataset that `id` names among `clients` (server/select.hpp: select_for_deletion) from repository and catalog. Returns
// success, not_recorded when the catalog could not be told (the next run does it), or busy when it is being read.
[[nodiscard]] ExitStatus delete_dataset(const ServerSettings& settings, const std::vector<const ClientSettings*>& clients, Tier tier,
                                        const std::string& id, unsigned lock_wait_seconds);

}  // namespace syncropy

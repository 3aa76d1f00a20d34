#pragma once
// Which datasets a tier no longer keeps.

#include <string>
#include <vector>

#include "repository/repository.hpp"

namespace syncropy {

// The datasets of `tier` that retention lets go, oldest first. A dataset goes when `keep` complete datasets of its tier are newer than it;
// a partial one also when `keep` partial ones are. So a partial dataset never pushes out a complete one, at most 2 * `keep` stand side by
// side, and the newest complete dataset always stays. Order is by sequence. `datasets` may hold other tiers, which are not looked at.
[[nodiscard]] std::vector<StoredDataset> expired(const std::vector<StoredDataset>& datasets, Tier tier, unsigned keep);

}  // namespace syncropy

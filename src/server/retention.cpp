#include "server/retention.hpp"

#include <algorithm>

namespace syncropy {

std::vector<StoredDataset> expired(const std::vector<StoredDataset>& datasets, Tier tier, unsigned keep) {
  std::vector<StoredDataset> gone;
  unsigned newer_complete = 0, newer_partial = 0;
  for (auto dataset = datasets.rbegin(); dataset != datasets.rend(); ++dataset) {
    if (dataset->info.tier != tier) continue;
    const bool partial = dataset->info.completeness == Completeness::partial;
    if (newer_complete >= keep || (partial && newer_partial >= keep)) gone.push_back(*dataset);
    ++(partial ? newer_partial : newer_complete);
  }
  std::reverse(gone.begin(), gone.end());
  return gone;
}

}  // namespace syncropy

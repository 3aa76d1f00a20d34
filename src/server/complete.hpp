#pragma once
// What may follow what somebody has typed: names of datasets, and of paths in one.

#include <string>
#include <string_view>
#include <vector>

#include "repository/repository.hpp"

namespace syncropy {

// Names of datasets that begin with `typed`, one step further: clients; tiers of a client that have datasets ("web1/hour/"); datasets. Sorted.
[[nodiscard]] std::vector<std::string> complete_dataset(const Repository& repository, std::string_view typed);

// Paths of a dataset that begin with `typed`, one folder deep; folders end in a slash. At most `most`, in manifest order; none where
// `typed` does not begin with a slash. Names with control characters are left out: no shell can be handed them in a line.
[[nodiscard]] std::vector<std::string> complete_path(const Repository& repository, std::string_view dataset, std::string_view typed, std::size_t most = 1'000);

}  // namespace syncropy

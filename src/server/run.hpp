#pragma once
// connect -> list -> plan -> receive -> publish -> record -> expire: one run of one config in one tier.

#include <string>
#include <vector>

#include "config/settings.hpp"
#include "model/dataset.hpp"
#include "util/error.hpp"

namespace syncropy {

struct RunOptions {
  Tier tier = Tier::hour;
  bool reload = false;                 // the new dataset replaces the newest of its tier
  std::vector<std::string> only;       // names of clients; empty: all
  unsigned lock_wait_seconds = 3'600;  // for another run of the same client
};

// The clients of `settings` that are named in `only`, all where that is empty. Throws Error(usage) for a name that is not there.
[[nodiscard]] std::vector<const ClientSettings*> wanted_clients(const ServerSettings& settings, const std::vector<std::string>& only);

// Backs up all clients, `parallel` of them side by side; one that fails does not stop the others. Every failure is logged once, with its
// client. Returns success, or what went wrong: the one status that all failed clients share, else ExitStatus::several.
[[nodiscard]] ExitStatus run(const ServerSettings& settings, const RunOptions& options);

}  // namespace syncropy

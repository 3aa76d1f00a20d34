#pragma once
// The catalog made again from the manifests alone.

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "repository/repository.hpp"

namespace syncropy {

// Written by rebuild_catalog(), read by whoever shows it.
struct RebuildProgress {
  std::atomic<const char*> stage = "beginning";
  std::atomic<std::size_t> client = 0, clients = 0;   // at work on the client-th
  std::atomic<std::uint64_t> datasets = 0;            // recorded
};

struct RebuildCounts {
  std::size_t clients = 0;
  std::uint64_t datasets = 0;
  std::vector<std::string> damaged;  // datasets in full that cannot be recorded
  std::vector<std::string> busy;     // clients of which a run went on all the time: their next run records what is missing
};

// Embedded: a new database beside the old one, which takes its place once everything is recorded; the old one is never opened, and until then
// it stays as it is. Networked: what the database holds of each client of the repository is deleted and recorded anew, one client after the
// other; should it end in the middle, runs record the rest, or another call does. Holds each client's lock while it records it, and after the
// exchange once more, to record what runs have published meanwhile; waits up to `lock_wait_seconds` for each. Error busy where another
// rebuild goes on.
[[nodiscard]] RebuildCounts rebuild_catalog(const DatabaseSettings& database, const Repository& repository, unsigned lock_wait_seconds, RebuildProgress& progress);

}  // namespace syncropy

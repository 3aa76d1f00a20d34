#pragma once
// choose -> compare -> place -> finish: a dataset given back through a restore worker, on the client or in this process.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "model/restore.hpp"
#include "server/agent-session.hpp"
#include "server/dataset-source.hpp"

namespace syncropy {

// Written by the restore, read by whoever shows it. Counts only rise.
struct RestoreProgress {
  std::atomic<const char*> stage = "comparing";
  std::atomic<std::uint64_t> entries = 0;   // with an outcome
  std::atomic<std::uint64_t> bytes = 0;     // of content that was sent
};

struct RestoreCounts {
  std::uint64_t created = 0, replaced = 0, adjusted = 0, same = 0, kept = 0, conflicts = 0, failed = 0;
  std::uint64_t incomplete = 0;             // in place, but with shortfalls
  std::uint64_t removed = 0, not_removed = 0;
  std::uint64_t damaged = 0;                // among `failed`: what is stored of them is missing or not what was backed up
  std::uint64_t bytes = 0;
};

struct RestoreEvents {
  // Each entry but folders on the way, once, in the order in which they were settled; paths are not escaped.
  std::function<void(const std::string& path, FileType type, const RestoreOutcome& outcome)> on_entry;
  std::function<void(const std::string& path, std::uint32_t code)> on_removed;  // code 0: gone, or with dry_run it would be
};

// With Existing::fail and a target that is not empty, all is compared first, and where something else is in the way nothing is touched:
// counts.conflicts says so, and `on_entry` had only the conflicts. Throws Error for what ends the restore; what was placed by then is
// whole and stays, and the same restore again does the rest.
[[nodiscard]] RestoreCounts restore(AgentSession& worker, DatasetSource& source, const RestoreRules& rules, const Selection& selection,
                                    RestoreProgress& progress, const RestoreEvents& events);

}  // namespace syncropy

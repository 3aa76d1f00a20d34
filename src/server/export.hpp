#pragma once
// A dataset, or what was chosen of it, as a tar stream.

#include <cstdint>
#include <functional>
#include <string>

#include "server/dataset-source.hpp"

namespace syncropy {

struct ExportCounts {
  std::uint64_t members = 0;
  std::uint64_t bytes = 0;    // of content, without holes
  std::uint64_t sockets = 0;  // which a tar cannot hold
  std::uint64_t unread = 0;   // nothing in the dataset to export, or not all of it
  std::uint64_t damaged = 0;  // stored content that is missing or not what was backed up
};

struct ExportOptions {
  bool numeric = false;  // accounts by number only
};

// Told of each entry that is not in the stream as it was on the client; `path` without its leading slash, not escaped; `why` is for people.
using ExportProblem = std::function<void(const std::string& path, const std::string& why)>;

// Writes the stream to `out`, which stays open. Members are in manifest order, without a leading slash; folders on the way are members too,
// but for the root, which is one ("./") only where it is chosen itself. Content is verified while it is written: a file of at most 1 MiB of
// data before, and it is left out when it is not what was backed up; a larger one is in the stream by then. Throws Error(io) when `out` takes
// no more, and what SelectedEntries throws.
ExportCounts export_dataset(DatasetSource& source, const Selection& selection, const ExportOptions& options, int out, const ExportProblem& problem);

}  // namespace syncropy

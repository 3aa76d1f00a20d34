#pragma once
// The catalog brought in line with the repository, which alone decides what exists.

#include <exception>
#include <optional>
#include <string>
#include <thread>

#include "catalog/catalog.hpp"
#include "config/settings.hpp"
#include "repository/manifest-store.hpp"
#include "repository/repository.hpp"

namespace syncropy {

[[nodiscard]] CatalogLocation catalog_location(const DatabaseSettings& database, const Repository& repository);

struct RecordCounts {
  unsigned recorded = 0;   // datasets that were in the repository only
  unsigned forgotten = 0;  // datasets that were in the catalog only
};

// Removes from the catalog what the repository has not (Catalog::trim() is the caller's), records what is missing in the order of sequence, each by the difference of its
// manifest to that of the one before. Where something is missing that is older than what is recorded, the client is recorded anew from the
// first manifest on. A dataset whose manifest cannot be read to its end is warned about and not recorded, and if it was it no longer is, once
// the next one cannot be compared with it. The caller holds the client's lock. Throws what Catalog throws.
RecordCounts bring_in_line(Catalog& catalog, const ClientStore& store);

// Records a dataset while it is received: a thread reads its manifest behind the one that writes it. The catalog is in line with the
// repository, and nobody else uses it while this lives. Without a commit() nothing of it is recorded.
class LiveRecording {
 public:
  // `before`: the newest dataset of the client, null where there is none. `manifest`: the folder in which the new one is being written.
  LiveRecording(Catalog& catalog, const ClientStore& store, const DatasetInfo* before, const Fd& manifest, SegmentFeed& feed, std::uint64_t sequence);
  ~LiveRecording();
  LiveRecording(const LiveRecording&) = delete;
  LiveRecording& operator=(const LiveRecording&) = delete;
  // Once the dataset is published. Throws what recording it threw.
  void commit(const DatasetInfo& info);

 private:
  Catalog::Recording recording_;
  SegmentFeed& feed_;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace syncropy

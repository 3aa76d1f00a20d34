#include "server/record.hpp"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "repository/manifest-store.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "util/error.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

ManifestReader open_manifest(const ClientStore& store, const DatasetInfo& info) {
  const Fd dataset = store.open_dataset(info.tier, info.name);
  Fd manifest = open_beneath(dataset.get(), "manifest", O_RDONLY | O_DIRECTORY);
  const std::string subject = store.name() + "/" + std::string(name_of(info.tier)) + "/" + info.name;
  if (!manifest) throw_errno(damage_status(errno), "open the manifest of", subject);
  return ManifestReader(std::move(manifest), subject);
}

void record_difference(Catalog::Recording& recording, std::optional<ManifestReader>& before, ManifestReader& after) {
  if (!before) {
    Entry entry;
    while (after.next(entry)) recording.begin_version(entry);
    return;
  }
  compare_manifests(*before, after,
                    {[&](const Entry& gone) { recording.end_version(gone.path); },
                     [&](const Entry& was, const Entry& is) {
                       recording.end_version(was.path);
                       recording.begin_version(is);
                     },
                     [&](const Entry& added) { recording.begin_version(added); }});
}

std::optional<ManifestReader> open_before(const ClientStore& store, const DatasetInfo* before) {
  if (before == nullptr) return std::nullopt;
  return open_manifest(store, *before);
}

void record_one(Catalog& catalog, const ClientStore& store, const DatasetInfo* before, const DatasetInfo& info) {
  Catalog::Recording recording = catalog.record(store.name(), info.sequence, before == nullptr ? 0 : before->sequence);
  ManifestReader after = open_manifest(store, info);
  std::optional<ManifestReader> old = open_before(store, before);
  record_difference(recording, old, after);
  recording.commit(info);
}

// A damaged segment shows only when it is read, so datasets are checked when something went wrong, not before.
bool is_damaged(const ClientStore& store, const DatasetInfo& info) {
  const std::optional<std::string> damage = store.manifest_damage(info.tier, info.name);
  if (!damage) return false;
  log(Priority::warning, store.name() + ": " + std::string(name_of(info.tier)) + "/" + info.name + " is not in the catalog: " + *damage,
      {{"SYNCROPY_CLIENT", store.name()}}, message_id::dataset_damaged);
  return true;
}

// Records `info` as what comes after `before`, the recorded datasets by sequence. Of these it takes out of the catalog what turns out to be
// damaged; the versions such a one had ended are valid again, so that the one before it is what to compare with. False: `info` is damaged.
bool record_next(Catalog& catalog, const ClientStore& store, std::vector<const DatasetInfo*>& before, const DatasetInfo& info) {
  for (;;) {
    try {
      record_one(catalog, store, before.empty() ? nullptr : before.back(), info);
      before.push_back(&info);
      return true;
    } catch (const Error& error) {
      if (error.status() != ExitStatus::data) throw;
      if (is_damaged(store, info)) return false;
      if (before.empty() || !is_damaged(store, *before.back())) throw;
    }
    catalog.remove(store.name(), before.back()->sequence);
    before.pop_back();
  }
}

bool is_same(const DatasetInfo& left, const DatasetInfo& right) {
  return left.sequence == right.sequence && left.tier == right.tier && left.name == right.name;
}

}  // namespace

CatalogLocation catalog_location(const DatabaseSettings& database, const Repository& repository) {
  const std::string file = database.dbname.empty() ? repository.catalog_file() : database.dbname;
  return {database.host, database.port, database.user, database.password, file, repository.engine_folder()};
}

RecordCounts bring_in_line(Catalog& catalog, const ClientStore& store) {
  RecordCounts counts;
  const std::vector<StoredDataset> stored = store.datasets().good;
  std::vector<RecordedDataset> recorded = catalog.datasets(store.name());

  auto is_stored = [&](const RecordedDataset& row) {
    return std::any_of(stored.begin(), stored.end(), [&](const StoredDataset& dataset) { return is_same(dataset.info, row.info); });
  };
  for (const RecordedDataset& row : recorded) {
    if (is_stored(row)) continue;
    catalog.remove(store.name(), row.info.sequence);
    ++counts.forgotten;
  }
  std::erase_if(recorded, [&](const RecordedDataset& row) { return !is_stored(row); });

  auto is_recorded = [&](const StoredDataset& dataset) {
    return std::any_of(recorded.begin(), recorded.end(), [&](const RecordedDataset& row) { return is_same(row.info, dataset.info); });
  };
  const std::uint64_t newest_recorded = recorded.empty() ? 0 : recorded.back().info.sequence;
  const bool has_gap = std::any_of(stored.begin(), stored.end(), [&](const StoredDataset& dataset) {
    return dataset.info.sequence < newest_recorded && !is_recorded(dataset) && !is_damaged(store, dataset.info);
  });
  if (has_gap) {
    catalog.forget(store.name());
    recorded.clear();
  }
  const std::uint64_t rest = recorded.empty() ? 0 : recorded.back().info.sequence;  // what is older and missing is damaged
  std::vector<const DatasetInfo*> before;
  for (const StoredDataset& dataset : stored) {
    if (is_recorded(dataset)) {
      before.push_back(&dataset.info);
    } else if (dataset.info.sequence > rest && record_next(catalog, store, before, dataset.info)) {
      ++counts.recorded;
    }
  }
  return counts;
}

LiveRecording::LiveRecording(Catalog& catalog, const ClientStore& store, const DatasetInfo* before, const Fd& manifest, SegmentFeed& feed,
                             std::uint64_t sequence)
    : recording_(catalog.record(store.name(), sequence, before == nullptr ? 0 : before->sequence)), feed_(feed) {
  thread_ = std::thread([this, old = open_before(store, before), after = ManifestReader(manifest.duplicate(), "the new manifest", feed)]() mutable {
    try {
      record_difference(recording_, old, after);
    } catch (...) {
      failure_ = std::current_exception();
    }
  });
}

LiveRecording::~LiveRecording() {
  feed_.abandon();
  if (thread_.joinable()) thread_.join();
}

void LiveRecording::commit(const DatasetInfo& info) {
  feed_.finish();
  thread_.join();
  if (failure_) std::rethrow_exception(failure_);
  recording_.commit(info);
}

}  // namespace syncropy

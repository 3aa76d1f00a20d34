#include "server/record.hpp"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "repository/manifest-store.hpp"
#include "util/error.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

ManifestReader open_manifest(const ClientStore& store, const DatasetInfo& info) {
  const Fd dataset = store.open_dataset(info.tier, info.name);
  Fd manifest = open_beneath(dataset.get(), "manifest", O_RDONLY | O_DIRECTORY);
  const std::string subject = store.name() + "/" + std::string(name_of(info.tier)) + "/" + info.name;
  if (!manifest) throw_errno(ExitStatus::data, "open the manifest of", subject);
  return ManifestReader(std::move(manifest), subject);
}

void record_one(Catalog& catalog, const ClientStore& store, const DatasetInfo* before, const DatasetInfo& info) {
  Catalog::Recording recording = catalog.record(store.name(), info.sequence);
  ManifestReader after = open_manifest(store, info);
  if (before == nullptr) {
    Entry entry;
    while (after.next(entry)) recording.begin_version(entry);
  } else {
    ManifestReader old = open_manifest(store, *before);
    compare_manifests(old, after,
                      {[&](const Entry& gone) { recording.end_version(gone.path); },
                       [&](const Entry& was, const Entry& is) {
                         recording.end_version(was.path);
                         recording.begin_version(is);
                       },
                       [&](const Entry& added) { recording.begin_version(added); }});
  }
  recording.commit(info);
}

bool is_same(const DatasetInfo& left, const DatasetInfo& right) {
  return left.sequence == right.sequence && left.tier == right.tier && left.name == right.name;
}

}  // namespace

CatalogLocation catalog_location(const DatabaseSettings& database, const Repository& repository) {
  return {database.host, database.port, database.user, database.password, database.dbname.empty() ? repository.catalog_file() : database.dbname, repository.engine_folder()};
}

RecordCounts bring_in_line(Catalog& catalog, const ClientStore& store) {
  RecordCounts counts;
  const std::vector<StoredDataset> stored = store.datasets().good;
  std::vector<RecordedDataset> recorded = catalog.datasets(store.name());

  auto is_stored = [&](const RecordedDataset& row) {
    return std::any_of(stored.begin(), stored.end(), [&](const StoredDataset& dataset) { return is_same(dataset.info, row.info); });
  };
  // Newest first: each time, what the one before it shows becomes the newest state again.
  for (auto row = recorded.rbegin(); row != recorded.rend(); ++row) {
    if (is_stored(*row)) continue;
    catalog.expire(store.name(), row->info.sequence);
    ++counts.forgotten;
  }
  std::erase_if(recorded, [&](const RecordedDataset& row) { return !is_stored(row); });

  auto is_recorded = [&](const StoredDataset& dataset) {
    return std::any_of(recorded.begin(), recorded.end(), [&](const RecordedDataset& row) { return row.info.sequence == dataset.info.sequence; });
  };
  const std::uint64_t newest_recorded = recorded.empty() ? 0 : recorded.back().info.sequence;
  const bool has_gap = std::any_of(stored.begin(), stored.end(), [&](const StoredDataset& dataset) { return dataset.info.sequence < newest_recorded && !is_recorded(dataset); });
  if (has_gap) {
    catalog.forget(store.name());
    recorded.clear();
  }
  const DatasetInfo* before = nullptr;
  for (const StoredDataset& dataset : stored) {
    if (!is_recorded(dataset)) {
      record_one(catalog, store, before, dataset.info);
      ++counts.recorded;
    }
    before = &dataset.info;
  }
  return counts;
}

}  // namespace syncropy

#include "server/rebuild.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "catalog/catalog.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "server/record.hpp"
#include "server/select.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

// One rebuild of a repository's catalog at a time; ends with the process that holds it.
Fd lock_rebuilding(const Repository& repository) {
  const std::string file = repository.path() + "/.syncropy/rebuild.lock";
  Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw_errno(ExitStatus::repository, "open", file);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw_errno(ExitStatus::repository, "lock", file);
    throw Error(ExitStatus::busy, "the catalog is being rebuilt by another process", "wait for it to end");
  }
  return fd;
}

class Rebuild {
 public:
  Rebuild(const DatabaseSettings& database, const Repository& repository, unsigned lock_wait_seconds, RebuildProgress& progress)
      : location_(catalog_location(database, repository)), repository_(repository), lock_wait_seconds_(lock_wait_seconds), progress_(progress),
        lock_(lock_rebuilding(repository)) {}

  RebuildCounts run() {
    if (location_.host.empty()) {
      fill_draft();
      progress_.stage = "putting it in its place";
      Catalog::publish_draft(location_);
      // Runs that went on meanwhile have told the old one.
      progress_.stage = "recording what came meanwhile";
      each_client(false);
    } else {
      progress_.stage = "recording";
      each_client(true);
    }
    return std::move(counts_);
  }

 private:
  void fill_draft() {
    progress_.stage = "recording";
    try {
      Catalog draft = Catalog::create_draft(location_);
      std::vector<std::string> later;
      for (const std::string& client : clients())
        if (!record(draft, client, 0, false)) later.push_back(client);
      for (const std::string& client : later) static_cast<void>(record(draft, client, lock_wait_seconds_, false));
    } catch (...) {
      Catalog::discard_draft(location_);
      throw;
    }
  }

  void each_client(bool anew) {
    Catalog catalog(location_);
    counts_ = {};
    for (const std::string& client : clients()) {
      ++counts_.clients;
      if (!record(catalog, client, lock_wait_seconds_, anew)) counts_.busy.push_back(client);
    }
    for (const std::string& client : clients())
      for (const DamagedDataset& damaged : repository_.client(client).datasets().damaged) not_recorded(client, damaged.tier, damaged.name, damaged.why);
  }

  std::vector<std::string> clients() {
    std::vector<std::string> all = repository_.clients();
    progress_.client = 0;
    progress_.clients = all.size();
    return all;
  }

  // False where a run of the client goes on.
  bool record(Catalog& catalog, const std::string& client, unsigned wait_seconds, bool anew) {
    ++progress_.client;
    ClientStore store = repository_.client(client);
    try {
      store.lock(wait_seconds);
    } catch (const Error& error) {
      if (error.status() != ExitStatus::busy) throw;
      return false;
    }
    if (anew) catalog.forget(client);
    progress_.datasets += bring_in_line(catalog, store).recorded;
    const std::vector<RecordedDataset> recorded = catalog.datasets(client);
    counts_.datasets += recorded.size();
    // bring_in_line() has said why.
    for (const StoredDataset& dataset : store.datasets().good)
      if (std::none_of(recorded.begin(), recorded.end(), [&](const RecordedDataset& row) { return row.info.sequence == dataset.info.sequence; }))
        counts_.damaged.push_back(full_name(dataset.info));
    return true;
  }

  void not_recorded(const std::string& client, Tier tier, const std::string& name, const std::string& why) {
    counts_.damaged.push_back(full_name(client, tier, name));
    log(Priority::warning, full_name(client, tier, name) + " is not in the catalog: " + why, {{"SYNCROPY_CLIENT", client}}, message_id::dataset_damaged);
  }

  const CatalogLocation location_;
  const Repository& repository_;
  const unsigned lock_wait_seconds_;
  RebuildProgress& progress_;
  const Fd lock_;
  RebuildCounts counts_;
};

}  // namespace

RebuildCounts rebuild_catalog(const DatabaseSettings& database, const Repository& repository, unsigned lock_wait_seconds, RebuildProgress& progress) {
  return Rebuild(database, repository, lock_wait_seconds, progress).run();
}

}  // namespace syncropy

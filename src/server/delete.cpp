#include "server/delete.hpp"

#include <chrono>
#include <ctime>
#include <thread>

#include "catalog/catalog.hpp"
#include "repository/repository.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "server/record.hpp"
#include "server/select.hpp"

namespace syncropy {
namespace {

// A dataset is named by the second it began: while that lasts, the next run would give the deleted name to other content.
void outlast(std::int64_t second) {
  while (std::time(nullptr) == second) std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace

ExitStatus delete_datasets(const ServerSettings& settings, Tier tier, const std::string& id, unsigned lock_wait_seconds) {
  const Repository repository = Repository::open(settings.repository, true);
  std::vector<std::string> clients;
  for (const ClientSettings& client : settings.clients) clients.push_back(client.name);
  ExitStatus status = ExitStatus::success;
  for (const DatasetInfo& info : select_for_deletion(repository, clients, tier, id)) {
    ClientStore store = repository.client(info.client);
    store.lock(lock_wait_seconds);
    if (store.retire(info.tier, info.name) == RetireResult::in_use) {
      log(Priority::error, full_name(info) + " is being read: delete it when its reader has finished");
      status = ExitStatus::busy;
      continue;
    }
    store.discard_spare();
    store.empty_trash();
    outlast(info.started.seconds);
    log(Priority::notice, "deleted " + full_name(info), {{"SYNCROPY_CLIENT", info.client}}, message_id::expired);
    try {
      Catalog catalog(catalog_location(settings.database, repository));
      static_cast<void>(bring_in_line(catalog, store));
    } catch (const Error& error) {
      log(Priority::error, full_name(info) + " is deleted but still in the catalog: " + error.line() + "; the next run takes it out", {{"SYNCROPY_CLIENT", info.client}}, message_id::not_recorded);
      status = ExitStatus::not_recorded;
    }
  }
  return status;
}

}  // namespace syncropy

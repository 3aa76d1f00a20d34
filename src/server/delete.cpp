#include "server/delete.hpp"

#include "catalog/catalog.hpp"
#include "repository/repository.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "server/record.hpp"
#include "server/select.hpp"

namespace syncropy {

ExitStatus delete_dataset(const ServerSettings& settings, const std::vector<const ClientSettings*>& clients, Tier tier, const std::string& id,
                          unsigned lock_wait_seconds) {
  const Repository repository = Repository::open(settings.repository, true);
  std::vector<std::string> names;
  for (const ClientSettings* client : clients) names.push_back(client->name);
  const DoomedDataset doomed = select_for_deletion(repository, names, tier, id);
  const std::string name = full_name(doomed.client, doomed.tier, doomed.name);
  ClientStore store = repository.client(doomed.client);
  store.lock(lock_wait_seconds);
  if (store.retire(doomed.tier, doomed.name) == RetireResult::in_use) {
    log(Priority::error, name + " is being read: delete it when its reader has finished");
    return ExitStatus::busy;
  }
  store.discard_spare();  // a person asked for its space
  log(Priority::notice, "deleted " + name + "; the next run or 'syncropy empty-trash' gives its space back", {{"SYNCROPY_CLIENT", doomed.client}}, message_id::expired);
  try {
    Catalog catalog(catalog_location(settings.database, repository));
    static_cast<void>(bring_in_line(catalog, store));
  } catch (const Error& error) {
    log(Priority::error, name + " is deleted but still in the catalog: " + error.line() + "; the next run takes it out",
        {{"SYNCROPY_CLIENT", doomed.client}}, message_id::not_recorded);
    return ExitStatus::not_recorded;
  }
  return ExitStatus::success;
}

}  // namespace syncropy

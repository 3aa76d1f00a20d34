#include <fmt/format.h>

#include <chrono>

#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "sd/service.hpp"
#include "util/escape.hpp"
#include "util/format.hpp"

namespace syncropy {
namespace {

constexpr unsigned extension_seconds = 900;  // of the unit's start time-out: this long over one folder is a failure

}  // namespace

// No client's lock is taken: what lies in the trash is nobody's, and a backup of the client may run meanwhile.
ExitStatus verb_empty_trash(const std::string& config) {
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::none);
  set_log_fields({{"SYNCROPY_CONFIG", escape(settings.name)}});
  become_owner_of(settings.repository);
  const Repository repository = Repository::open(settings.repository, true);
  const auto begun = std::chrono::steady_clock::now();
  ExitStatus status = ExitStatus::success;
  std::size_t clients = 0;
  // Of clients that are in no configuration any more too: it is their trash that nobody else empties.
  for (const std::string& name : repository.clients()) {
    try {
      notify_status(name + ": emptying the trash");
      repository.client(name).empty_trash([] {
        notify_progress(extension_seconds);
        return true;
      });
      ++clients;
    } catch (const Error& error) {
      status = status == ExitStatus::success || status == error.status() ? error.status() : ExitStatus::several;
      log(Priority::error, name + ": the trash could not be emptied: " + error.line(),
          {{"SYNCROPY_CLIENT", name}, {"SYNCROPY_STATUS", std::to_string(static_cast<int>(error.status()))}}, message_id::of_failure(error.status()));
    }
  }
  const std::string seconds = fmt::format("{:.1f}", std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  if (status == ExitStatus::success)
    log(Priority::info, fmt::format("the trash of {} is empty, after {} s", clients == 1 ? "one client" : format_count(clients) + " clients", seconds), {{"SYNCROPY_SECONDS", seconds}}, message_id::trash_emptied);
  return status;
}

}  // namespace syncropy

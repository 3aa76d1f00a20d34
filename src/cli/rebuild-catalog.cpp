#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "catalog/engine.hpp"
#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "sd/service.hpp"
#include "server/rebuild.hpp"
#include "util/format.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned lock_wait_seconds = 3'600;

// Shows how far it is, on a terminal and to systemd, until it is destroyed.
class RebuildTicker {
 public:
  explicit RebuildTicker(const RebuildProgress& progress) : progress_(progress), thread_([this] { tick(); }) {}
  ~RebuildTicker() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
    show_progress("");
  }
  RebuildTicker(const RebuildTicker&) = delete;
  RebuildTicker& operator=(const RebuildTicker&) = delete;

 private:
  void tick() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, std::chrono::milliseconds(250), [this] { return ended_; })) {
      const std::string text = fmt::format("{}: client {} of {}, {} datasets", progress_.stage.load(), progress_.client.load(), progress_.clients.load(),
                                           format_count(progress_.datasets));
      show_progress(text);
      notify_status(text);
    }
  }

  const RebuildProgress& progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace

ExitStatus verb_rebuild_catalog(const std::string& config) {
  const Clock::time_point begun = Clock::now();
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::of_database);
  become_owner_of(settings.repository);
  const Repository repository = Repository::open(settings.repository, true);
  // It changes the environment: before there is another thread.
  if (settings.database.host.empty()) use_engine_folder(repository.engine_folder());
  RebuildProgress progress;
  RebuildCounts counts;
  {
    const RebuildTicker ticker(progress);
    counts = rebuild_catalog(settings.database, repository, lock_wait_seconds, progress);
  }
  fmt::print("the catalog holds {} datasets of {} clients again, made in {:.1f} s\n", format_count(counts.datasets), format_count(counts.clients),
             std::chrono::duration<double>(Clock::now() - begun).count());
  for (const std::string& client : counts.busy)
    log(Priority::warning, client + ": a run went on all the time: what it publishes is recorded by the next one", {{"SYNCROPY_CLIENT", client}},
        message_id::not_recorded);
  if (!counts.damaged.empty()) return ExitStatus::data;
  return counts.busy.empty() ? ExitStatus::success : ExitStatus::not_recorded;
}

}  // namespace syncropy

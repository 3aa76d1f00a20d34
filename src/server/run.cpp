#include "server/run.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <deque>
#include <optional>
#include <system_error>
#include <thread>

#include "catalog/catalog.hpp"
#include "repository/manifest-store.hpp"
#include "repository/recycle.hpp"
#include "repository/repository.hpp"
#include "repository/tree.hpp"
#include "repository/writeback.hpp"
#include "sd/inhibit.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "sd/service.hpp"
#include "server/agent-session.hpp"
#include "server/backup-catalog.hpp"
#include "server/bounded-log.hpp"
#include "server/plan.hpp"
#include "server/progress.hpp"
#include "server/record.hpp"
#include "server/retention.hpp"
#include "server/status.hpp"
#include "server/ticker.hpp"
#include "server/trash.hpp"
#include "util/escape.hpp"
#include "util/folder.hpp"
#include "util/unexpected.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;


// One client's run. Its steps are the words of the design, in its order.
class ClientRun {
 public:
  ClientRun(const ServerSettings& settings, const ClientSettings& client, const RunOptions& options, const Repository& repository, Progress& progress)
      : settings_(settings), client_(client), options_(options), repository_(repository), progress_(progress),
        store_(repository.client(client.name)) {}

  ExitStatus run() {
    ExitStatus status = ExitStatus::success;
    try {
      lock();
      recover();
      connect();
      const bool ready = pre_command();
      status = ready ? back_up() : ExitStatus::command;
    } catch (const Error& error) {
      status = report(error);
    } catch (const std::exception& error) {
      status = report(as_error(error));
    }
    status = post_command(status);
    note(status);
    return status;
  }

 private:
  // For `syncropy status`. Who has not got the lock is not the one to write.
  void note(ExitStatus status) {
    if (!locked_) return;
    try {
      RunNotes notes = store_.notes();
      notes.ended = std::time(nullptr);
      notes.last_status = static_cast<int>(status);
      if (agent_) notes.connected = notes.ended;
      if (agent_) notes.certificate_expires = agent_->peer().expires;
      if (status != ExitStatus::success && status != ExitStatus::partial)
        notes.failure = RunNotes::Failure{notes.ended, options_.tier, static_cast<int>(status), failure_.empty() ? "the journal says why" : failure_};
      store_.set_notes(notes);
    } catch (const Error& error) {
      line(Priority::debug, "what 'syncropy status' shows of this run is not noted: " + error.line());
    }
  }

  void remember(const std::string& why) {
    if (failure_.empty()) failure_ = why;
  }

  ExitStatus back_up() {
    const Clock::time_point begun = Clock::now();
    const ClientStore::Datasets datasets = store_.datasets();
    for (const DamagedDataset& damaged : datasets.damaged)
      line(Priority::warning, std::string(name_of(damaged.tier)) + "/" + damaged.name + " is left alone: " + damaged.why,
           {{"SYNCROPY_DATASET", std::string(name_of(damaged.tier)) + "/" + damaged.name}}, message_id::dataset_damaged);
    const TrashEmptier trash(store_);
    const DatasetInfo info = receive_whole(datasets);
    const bool recorded = record(info);
    summarise(info, Clock::now() - begun);
    expire(info, datasets);
    if (!recorded) return ExitStatus::not_recorded;
    return info.completeness == Completeness::partial ? ExitStatus::partial : ExitStatus::success;
  }

  // Another run of this client, of another tier say, comes first.
  void lock() {
    progress_.stage = "waiting for another run";
    try {
      store_.lock(0);
      locked_ = true;
      return;
    } catch (const Error& error) {
      if (error.status() != ExitStatus::busy || options_.lock_wait_seconds == 0) throw;
    }
    line(Priority::notice, "another run of this client is under way: this one waits for it, for " + format_wait(options_.lock_wait_seconds) + " at most", {},
         message_id::waiting);
    store_.lock(options_.lock_wait_seconds);
    locked_ = true;
  }

  void recover() {
    progress_.stage = "recovering";
    if (const unsigned unfinished = store_.recover(); unfinished > 0) {
      line(Priority::notice, "an interrupted run had left " + std::to_string(unfinished) + " unfinished tree; it goes to the trash", {},
           message_id::recovered);
    }
    try {
      const RecordCounts counts = bring_in_line(catalog(), store_);
      in_line_ = true;
      if (counts.recorded > 0)
        line(Priority::notice, "recorded " + std::to_string(counts.recorded) + " datasets that an earlier run could not", {}, message_id::recovered);
      if (counts.forgotten > 0)
        line(Priority::info, "took " + std::to_string(counts.forgotten) + " datasets out of the catalog that are no longer in the repository");
    } catch (const std::exception&) {
      catalog_.reset();  // record() tries again after publishing, and reports
    }
  }

  void connect() {
    progress_.stage = "connecting";
    agent_.emplace(client_);
    warn_of_expiry(agent_->peer());
  }

  // Once a run, while there is still time.
  void warn_of_expiry(const PeerIdentity& agent) {
    if (warned_of_expiry_ || agent.expires == 0 || agent.expires - std::time(nullptr) >= certificate_warning_seconds) return;
    warned_of_expiry_ = true;
    line(Priority::warning, "the agent's certificate expires on " + format_time(agent.expires) + ", and there will be no backup after that: 'syncropy-agent renew' there renews one that was enrolled",
         {}, message_id::certificate_expires);
  }

  bool pre_command() {
    if (client_.pre_command.empty()) return true;
    progress_.stage = "running the pre-command";
    return command(CommandKind::pre, client_.pre_command, true);
  }

  // The post-command runs whatever came before, on a connection of its own where the run's own is of no use any more.
  ExitStatus post_command(ExitStatus status) {
    const bool reached = agent_.has_value();
    if (client_.post_command.empty() || !reached) return status;
    try {
      progress_.stage = "running the post-command";
      if (session_spoiled_ || agent_->failed()) agent_.emplace(client_);
      const bool succeeded = status == ExitStatus::success || status == ExitStatus::partial || status == ExitStatus::not_recorded;
      if (!command(CommandKind::post, client_.post_command, succeeded) &&
          (status == ExitStatus::success || status == ExitStatus::partial || status == ExitStatus::not_recorded))
        return ExitStatus::command;
    } catch (const std::exception& failure) {
      const Error error = as_error(failure);
      const ExitStatus failed = report(Error(error.status(), std::string("the post-command could not be run: ") + error.what(), error.remedy()));
      if (status == ExitStatus::success) return failed;
    }
    return status;
  }

  bool command(CommandKind kind, const std::string& text, bool run_succeeded) {
    const std::string what = kind == CommandKind::pre ? "pre-command" : "post-command";
    OutputLog told([&](const std::string& output) { line(Priority::info, what + ": " + output); });
    const AgentSession::CommandResult result =
        agent_->run_command(kind, text, client_.command_timeout, run_succeeded, [&](std::string_view output) { told.add(escape(output)); });
    told.finish();
    if (!result.succeeded) remember("the " + what + " '" + escape(text) + "' " + result.text);
    if (!result.succeeded)
      line(Priority::error, "the " + what + " '" + escape(text) + "' " + result.text + (result.remedy.empty() ? "" : ": " + result.remedy), {{"SYNCROPY_COMMAND", kind == CommandKind::pre ? "pre" : "post"}},
           message_id::command_failed);
    return result.succeeded;
  }

  std::optional<PreviousDataset> newest(const ClientStore::Datasets& datasets) const {
    if (datasets.good.empty()) return std::nullopt;
    const DatasetInfo& info = datasets.good.back().info;
    return PreviousDataset{info, store_.open_dataset(info.tier, info.name)};
  }

  // Damage within the newest manifest shows when it is merged with the listing. Then the run starts over, once, from the newest dataset that
  // can be read to its end. Segments are shared, so several may be damaged alike.
  DatasetInfo receive_whole(const ClientStore::Datasets& datasets) {
    std::optional<PreviousDataset> previous = newest(datasets);
    for (bool replaced = false;;) {
      try {
        return receive(datasets, previous);
      } catch (const SpareUnfit& error) {
        // It is used up, so this happens once.
        line(Priority::warning, std::string(error.what()) + "; starts over with a new tree: " + error.remedy(), {}, message_id::recovered);
      } catch (const Error& error) {
        if (error.status() != ExitStatus::data || replaced || !previous || !is_damaged(previous->info)) throw;
        previous.reset();
        for (auto older = datasets.good.rbegin() + 1; older != datasets.good.rend() && !previous; ++older)
          if (!is_damaged(older->info)) previous = PreviousDataset{older->info, store_.open_dataset(older->info.tier, older->info.name)};
        line(Priority::warning, "starts over " + (previous ? "from " + std::string(name_of(previous->info.tier)) + "/" + previous->info.name
                                                           : "from nothing: everything is fetched"));
        replaced = true;
        in_line_ = false;  // the catalog may know the damaged one: record() sees to that
      }
      feed_.emplace();
      progress_.start_over();
      connect();
      session_spoiled_ = false;
    }
  }

  bool is_damaged(const DatasetInfo& info) {
    const std::optional<std::string> damage = store_.manifest_damage(info.tier, info.name);
    if (damage)
      line(Priority::warning, *damage + ": nothing is taken over from this dataset; delete it, or restore it from a copy",
           {{"SYNCROPY_DATASET", std::string(name_of(info.tier)) + "/" + info.name}}, message_id::dataset_damaged);
    return damage.has_value();
  }

  // list, plan, receive and publish. Whatever fails before the rename leaves nothing behind.
  DatasetInfo receive(const ClientStore::Datasets& datasets, const std::optional<PreviousDataset>& previous) {
    DatasetInfo info;
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    info.client = client_.name;
    info.tier = options_.tier;
    info.started = {now.tv_sec, static_cast<std::uint32_t>(now.tv_nsec)};
    info.sequence = store_.next_sequence(datasets);
    info.name = store_.free_name(options_.tier, now.tv_sec, info.sequence);
    info.acl = client_.acl;
    for (const std::string& path : client_.paths) info.paths.push_back(path.substr(1));
    info.excludes = client_.excludes;
    progress_.expected = previous ? previous->info.entries : 0;
    const Inhibitor inhibitor;
    if (const std::string why_not = Inhibitor::why_not(); !why_not.empty())
      line(Priority::debug, "sleep and shutdown are not held off: syncropy-inhibit.socket: " + why_not);
    PathLog unread_files("could not be read", [this](const std::string& text, std::vector<LogField> fields) {
      line(Priority::warning, text, std::move(fields), message_id::file_unread);
    });
    Staging staging = begin(previous, info.name);
    try {
      recycle(previous, staging);
      record_live(previous, staging, info);
      {
        const Writeback writeback(staging.folder);
        take_dataset(*agent_, client_, previous, staging, info, progress_, *feed_,
                     [&](const std::string& path, const std::string& text) { unread_files.add("/" + path, text); });
      }
      unread_files.finish();
      progress_.stage = "publishing";
      store_.publish(std::move(staging), info.tier);
    } catch (...) {
      recording_.reset();
      session_spoiled_ = true;
      progress_.stage = "cleaning up";
      discard_unpublished();
      throw;
    }
    return info;
  }

  Staging begin(const std::optional<PreviousDataset>& previous, const std::string& name) {
    if (previous)
      if (std::optional<Staging> staging = store_.begin_with_spare(name)) return std::move(*staging);
    return store_.begin(name);
  }

  // The spare is made into the tree of the dataset before, from which the run goes on.
  void recycle(const std::optional<PreviousDataset>& previous, Staging& staging) {
    if (!staging.spare_manifest) return;
    progress_.stage = "recycling";
    ManifestReader was(staging.spare_manifest.duplicate(), client_.name + "/.staging/" + staging.name);
    ManifestReader is(open_part(*previous, "manifest"), client_.name + "/" + std::string(name_of(previous->info.tier)) + "/" + previous->info.name);
    try {
      if (recycle_tree(staging, was, is, open_part(*previous, "tree")) == RecycleResult::recycled) return;
    } catch (const SpareUnfit&) {
      throw;
    } catch (const Error& error) {
      if (error.status() != ExitStatus::data) throw;  // one of the manifests: if it is that of the newest, the merge with the listing meets it
    }
    store_.clear(staging);
  }

  static Fd open_part(const PreviousDataset& dataset, const char* name) {
    Fd part = open_beneath(dataset.folder.get(), name, O_RDONLY | O_DIRECTORY);
    if (!part) throw_errno(damage_status(errno), "open", "the " + std::string(name) + " of the newest dataset");
    return part;
  }

  void discard_unpublished() {
    try {
      static_cast<void>(store_.recover());
      store_.empty_trash();
    } catch (const std::exception& failure) {
      const Error error = as_error(failure);
      line(Priority::warning, "the unfinished tree could not be removed now, the next run does it: " + error.line());
    }
  }

  void record_live(const std::optional<PreviousDataset>& previous, const Staging& staging, const DatasetInfo& info) {
    if (!in_line_) return;  // record() does it, or the next run
    try {
      recording_.emplace(*catalog_, store_, previous ? &previous->info : nullptr, staging.manifest, *feed_, info.sequence);
    } catch (const std::exception&) {
      catalog_.reset();
    }
  }

  // The catalog may be away: a backup does not fail for that.
  bool record(const DatasetInfo& info) {
    progress_.stage = "recording";
    try {
      if (recording_) {
        recording_->commit(info);
        recording_.reset();
        return true;
      }
    } catch (const std::exception&) {
      recording_.reset();
      catalog_.reset();
    }
    try {
      static_cast<void>(bring_in_line(catalog(), store_));
      return true;
    } catch (const std::exception& error) {
      not_recorded(info, as_error(error).line());
    }
    return false;
  }

  void not_recorded(const DatasetInfo& info, const std::string& why) {
    catalog_.reset();
    const std::string name = std::string(name_of(info.tier)) + "/" + info.name;
    remember(name + " is not recorded in the catalog: " + why);
    line(Priority::error, name + " is published but not recorded in the catalog: " + why + "; the next run records it", {{"SYNCROPY_DATASET", name}},
         message_id::not_recorded);
  }

  Catalog& catalog() {
    if (!catalog_) {
      catalog_.emplace(catalog_location(settings_.database, repository_));
      if (catalog_->was_unsafe())
        line(Priority::warning,
             "the catalog was being written when the machine stopped, or upgraded when a run was cut off: it is made anew from the manifests; those of other clients follow with "
             "their runs, or all at once with 'syncropy rebuild-catalog'",
             {}, message_id::recovered);
    }
    return *catalog_;
  }

  void expire(const DatasetInfo& info, const ClientStore::Datasets& before) {
    progress_.stage = "expiring";
    std::vector<StoredDataset> gone = expired(store_.datasets().good, options_.tier, keep());
    if (options_.reload) {
      // The newest of this tier before this run, unless that would give a complete dataset for a partial one.
      const auto replaced =
          std::find_if(before.good.rbegin(), before.good.rend(), [&](const StoredDataset& dataset) { return dataset.info.tier == options_.tier; });
      if (replaced != before.good.rend() && (info.completeness == Completeness::complete || replaced->info.completeness == Completeness::partial) &&
          std::none_of(gone.begin(), gone.end(), [&](const StoredDataset& dataset) { return dataset.info.sequence == replaced->info.sequence; }))
        gone.push_back(*replaced);
    }
    for (const StoredDataset& dataset : gone) retire(dataset.info);
    in_catalog("what expired takes room in the catalog still: ", {}, [&] { catalog_->trim(client_.name); });
  }

  void retire(const DatasetInfo& info) {
    const std::string name = std::string(name_of(info.tier)) + "/" + info.name;
    if (store_.retire(info.tier, info.name) == RetireResult::in_use) {
      line(Priority::notice, name + " is being read and stays until the next run", {{"SYNCROPY_DATASET", name}});
      return;
    }
    line(Priority::info, "expired " + name, {{"SYNCROPY_DATASET", name}}, message_id::expired);
    in_catalog(name + " is expired but still in the catalog: ", {{"SYNCROPY_DATASET", name}}, [&] { catalog_->remove(client_.name, info.sequence); });
  }

  // Once a dataset is published and recorded, a catalog that goes away is no failure: the next run brings it in line.
  template <typename Call>
  void in_catalog(const std::string& otherwise, std::vector<LogField> fields, Call call) {
    if (!catalog_) return;
    try {
      call();
    } catch (const std::exception& failure) {
      catalog_.reset();
      line(Priority::warning, otherwise + as_error(failure).line() + "; the next run takes it out", std::move(fields), message_id::not_recorded);
    }
  }

  unsigned keep() const {
    switch (options_.tier) {
      case Tier::hour: return settings_.hour;
      case Tier::day: return settings_.day;
      case Tier::week: return settings_.week;
      case Tier::month: return settings_.month;
    }
    return settings_.hour;
  }

  void summarise(const DatasetInfo& info, Clock::duration took) {
    const std::string seconds = fmt::format("{:.1f}", std::chrono::duration<double>(took).count());
    const std::string name = std::string(name_of(info.tier)) + "/" + info.name;
    const bool partial = info.completeness == Completeness::partial;
    const std::string marked = "'syncropy -c " + escape(settings_.name) + " ls -R " + client_.name + "/" + name + "' marks them";
    line(partial ? Priority::warning : Priority::info,
         name + (partial ? " is partial: " + format_count(progress_.problems) + " files could not be read (" + marked + "); " : " is complete: ") +
             format_count(info.entries) + " entries, " + format_count(progress_.linked) + " linked, " + format_count(info.new_files) +
             " new files with " + format_bytes(info.new_bytes) + ", in " + seconds + " s",
         {{"SYNCROPY_DATASET", name},
          {"SYNCROPY_SEQUENCE", std::to_string(info.sequence)},
          {"SYNCROPY_ENTRIES", std::to_string(info.entries)},
          {"SYNCROPY_LINKED", std::to_string(progress_.linked)},
          {"SYNCROPY_NEW_FILES", std::to_string(info.new_files)},
          {"SYNCROPY_NEW_BYTES", std::to_string(info.new_bytes)},
          {"SYNCROPY_UNREAD", std::to_string(progress_.problems)},
          {"SYNCROPY_SECONDS", seconds}},
         partial ? message_id::dataset_partial : message_id::dataset_complete);
  }

  static std::string format_wait(unsigned seconds) {
    if (seconds % 3'600 == 0) return std::to_string(seconds / 3'600) + " h";
    return seconds % 60 == 0 ? std::to_string(seconds / 60) + " min" : std::to_string(seconds) + " s";
  }

  ExitStatus report(const Error& error) {
    remember(error.line());
    line(Priority::error, error.line(), {{"SYNCROPY_STATUS", std::to_string(static_cast<int>(error.status()))}}, message_id::of_failure(error.status()));
    return error.status();
  }

  void line(Priority priority, const std::string& text, std::vector<LogField> fields = {}, std::string_view id = {}) {
    fields.push_back({"SYNCROPY_CLIENT", client_.name});
    log(priority, client_.name + ": " + text, fields, id);
  }

  const ServerSettings& settings_;
  const ClientSettings& client_;
  const RunOptions& options_;
  const Repository& repository_;
  Progress& progress_;
  ClientStore store_;
  std::optional<AgentSession> agent_;
  std::optional<Catalog> catalog_;
  bool in_line_ = false;  // the catalog knew every dataset when the run began
  std::optional<SegmentFeed> feed_{std::in_place};
  std::optional<LiveRecording> recording_;
  bool session_spoiled_ = false, warned_of_expiry_ = false, locked_ = false;
  std::string failure_;  // the first of what failed this run
};

// What `systemctl status` says from now on; and the last line of a run of many, with what is to be looked at.
void tell_the_end(const std::vector<const ClientSettings*>& clients, const std::vector<ExitStatus>& results) {
  constexpr std::size_t most_names = 20;
  std::string names;
  std::size_t failed = 0;
  for (std::size_t i = 0; i < clients.size(); ++i)
    if (results[i] != ExitStatus::success && ++failed <= most_names)
      names += (names.empty() ? "" : ", ") + clients[i]->name + " (" + std::to_string(static_cast<int>(results[i])) + ")";
  if (failed > most_names) names += ", …";
  const bool one = clients.size() == 1;
  std::string text = one ? clients[0]->name + ": " : std::to_string(clients.size()) + " clients: ";
  if (failed == 0) text += "backed up";
  else if (one) text += "ended with status " + std::to_string(static_cast<int>(results[0]));
  else text += fmt::format("{} did not end with status 0: {}", failed, names);
  notify_status(text);
  if (failed > 0 && !one) log(Priority::notice, text);
}

}  // namespace

std::vector<const ClientSettings*> wanted_clients(const ServerSettings& settings, const std::vector<std::string>& only) {
  std::vector<const ClientSettings*> wanted;
  for (const std::string& name : only)
    if (std::none_of(settings.clients.begin(), settings.clients.end(), [&](const ClientSettings& client) { return client.name == name; }))
      throw Error(ExitStatus::usage, settings.file + " has no client '" + escape(name) + "'", "name one of its clients after --client");
  for (const ClientSettings& client : settings.clients)
    if (only.empty() || std::find(only.begin(), only.end(), client.name) != only.end()) wanted.push_back(&client);
  return wanted;
}

ExitStatus run(const ServerSettings& settings, const RunOptions& options) {
  const std::vector<const ClientSettings*> clients = wanted_clients(settings, options.only);
  const Repository repository = Repository::open(settings.repository, true);
  std::deque<Progress> progress;
  for (const ClientSettings* client : clients) progress.emplace_back(client->name);
  std::vector<ExitStatus> results(clients.size(), ExitStatus::success);
  {
    const Ticker ticker(progress);
    std::atomic<std::size_t> next = 0;
    auto work = [&] {
      for (std::size_t i = next++; i < clients.size(); i = next++) {
        try {
          results[i] = ClientRun(settings, *clients[i], options, repository, progress[i]).run();
        } catch (const std::exception& failure) {
          const Error error = as_error(failure);
          results[i] = error.status();
          log(Priority::error, clients[i]->name + ": " + error.line(),
              {{"SYNCROPY_CLIENT", clients[i]->name}, {"SYNCROPY_STATUS", std::to_string(static_cast<int>(error.status()))}},
              message_id::of_failure(error.status()));
        }
        progress[i].stage = "done";
      }
    };
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < std::min<std::size_t>(settings.parallel, clients.size()); ++i) {
      try {
        threads.emplace_back(work);
      } catch (const std::system_error&) {
        break;  // fewer side by side: this thread takes what is left
      }
    }
    work();
    for (std::thread& thread : threads) thread.join();
  }
  tell_the_end(clients, results);
  // One reason is told as it is; several reasons are told apart by the log.
  ExitStatus status = ExitStatus::success;
  for (ExitStatus result : results) {
    if (result == ExitStatus::success || result == status) continue;
    status = status == ExitStatus::success ? result : ExitStatus::several;
  }
  const bool recorded = std::any_of(results.begin(), results.end(), [](ExitStatus result) { return result == ExitStatus::success || result == ExitStatus::partial; });
  return recorded ? back_up_catalog(settings, repository, status) : status;
}

}  // namespace syncropy

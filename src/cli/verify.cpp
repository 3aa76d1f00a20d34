#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "sd/service.hpp"
#include "server/bounded-log.hpp"
#include "server/catalog-check.hpp"
#include "server/verify.hpp"
#include "util/escape.hpp"
#include "util/format.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned progress_seconds = 900;     // of the unit's start time-out: this long without progress is a failure
constexpr std::size_t told_datasets = 3;       // of a damaged path, by name

std::string what_of(const DamagedPath& damaged) {
  std::string text = "/" + escape(damaged.path) + " " + describe(damaged.kind);
  if (damaged.code != 0) text += std::string(": ") + std::strerror(damaged.code);
  return text;
}

// Shows how far a client is, on a terminal and to systemd.
class VerifyTicker {
 public:
  VerifyTicker(const std::string& client, const VerifyProgress& progress) : client_(client), progress_(progress), thread_([this] { tick(); }) {}
  ~VerifyTicker() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
    show_progress("");
  }
  VerifyTicker(const VerifyTicker&) = delete;
  VerifyTicker& operator=(const VerifyTicker&) = delete;

 private:
  static constexpr std::chrono::milliseconds interval{250};
  void tick() {
    std::unique_lock lock(mutex_);
    std::uint64_t before = 0;
    while (!changed_.wait_for(lock, interval, [this] { return ended_; })) {
      const std::uint64_t parts = progress_.parts, all = progress_.all_parts, now = parts + progress_.names + progress_.bytes;
      std::string text = client_ + ": " + progress_.stage.load();
      if (all > 0)
        text += fmt::format(", {}%, {} names, {} files, {}", parts * 100 / all, format_count(progress_.names), format_count(progress_.files),
                            format_bytes(progress_.bytes));
      if (progress_.damaged > 0) text += ", " + format_count(progress_.damaged) + " damaged";
      show_progress(text);
      notify_status(text);
      if (now != before) notify_progress(progress_seconds);
      before = now;
    }
  }

  const std::string& client_;
  const VerifyProgress& progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

std::string datasets_of(const DamagedPath& damaged) {
  std::string text;
  for (std::size_t i = 0; i < damaged.datasets.size() && i < told_datasets; ++i) text += (i == 0 ? "" : ", ") + damaged.datasets[i];
  if (damaged.datasets.size() > told_datasets) text += fmt::format(" and {} more", damaged.datasets.size() - told_datasets);
  return text;
}

void print_json(const std::string& client, const VerifyResult& result) {
  for (const DamagedPath& damaged : result.damage) {
    std::string datasets;
    for (const std::string& dataset : damaged.datasets) datasets += (datasets.empty() ? "" : ",") + json_text(dataset);
    fmt::print(R"({{"client":"{}","path":{},"problem":"{}","code":{},"inode":{},"datasets":[{}]}})" "\n", client, json_text("/" + damaged.path),
               word_of(damaged.kind), damaged.code, damaged.inode, datasets);
  }
  for (const auto& [dataset, why] : result.manifests)
    fmt::print(R"({{"client":"{}","dataset":"{}","problem":"manifest","why":{}}})" "\n", client, dataset, json_text(why));
  fmt::print(R"({{"summary":{{"client":"{}","datasets":{},"expired":{},"names":{},"files":{},"bytes":{},"split":{},"damaged":{},"manifests":{},)"
             R"("more":{},"noted":{}}}}})" "\n",
             client, result.datasets, result.expired, result.names, result.files, result.bytes, result.split, result.damage.size(),
             result.manifests.size(), result.more, result.not_noted.empty());
}

void print_text(const std::string& client, const VerifyResult& result, double seconds) {
  std::map<std::string, std::size_t> damaged_datasets;
  for (const DamagedPath& damaged : result.damage) {
    fmt::print("{}: {}: in {}\n", client, what_of(damaged), datasets_of(damaged));
    for (const std::string& dataset : damaged.datasets) ++damaged_datasets[dataset];
  }
  for (const auto& [dataset, count] : damaged_datasets) fmt::print("{}/{}: {} damaged\n", client, dataset, format_count(count));
  fmt::print("{}: {}: {} datasets, {} names; {} files with {} read, in {:.1f} s\n", client, result.is_damaged() ? "DAMAGED" : "in order", result.datasets,
             format_count(result.names), format_count(result.files), format_bytes(result.bytes), seconds);
  if (result.more) fmt::print("{}: there is more damage than is listed\n", client);
  if (result.split > 0) fmt::print("{}: {} names of hard-linked files are stored as files of their own; a restore links them again\n", client, format_count(result.split));
  if (result.expired > 0) fmt::print("{}: {} datasets expired meanwhile\n", client, result.expired);
}

// In a unit nobody reads standard output; what is damaged has been told by then.
void tell_the_journal(const std::string& client, const VerifyResult& result, double seconds) {
  log(Priority::info,
      fmt::format("{}: in order: {} datasets, {} names; {} files with {} read, in {:.1f} s", client, result.datasets, format_count(result.names),
                  format_count(result.files), format_bytes(result.bytes), seconds),
      {{"SYNCROPY_CLIENT", client}, {"SYNCROPY_SECONDS", fmt::format("{:.1f}", seconds)}}, message_id::verified);
}

ExitStatus verify_one(const Repository& repository, const VerifyScope& scope, const VerifyOptions& options, bool json) {
  const Clock::time_point begun = Clock::now();
  ClientStore store = repository.client(scope.client);
  VerifyProgress progress;
  std::mutex telling;
  PathLog told("are damaged", [&](const std::string& text, std::vector<LogField> fields) {
    fields.push_back({"SYNCROPY_CLIENT", scope.client});
    log(Priority::error, text, fields, message_id::file_damaged);
  });
  VerifyResult result;
  {
    const VerifyTicker ticker(scope.client, progress);
    result = verify_client(store, scope, options, progress, [&](const std::string& dataset, const DamagedPath& found) {
      const std::lock_guard lock(telling);
      told.add("/" + found.path, scope.client + "/" + dataset + ": " + what_of(found), {{"SYNCROPY_DATASET", dataset}});
    });
  }
  told.finish();
  for (const auto& [dataset, why] : result.manifests)
    log(Priority::error, scope.client + "/" + dataset + " is damaged: " + why, {{"SYNCROPY_CLIENT", scope.client}, {"SYNCROPY_DATASET", dataset}},
        message_id::dataset_damaged);
  const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  if (json) print_json(scope.client, result);
  else if (!logs_to_journal()) print_text(scope.client, result, seconds);
  else if (!result.is_damaged()) tell_the_journal(scope.client, result, seconds);
  if (!result.damage.empty() || result.more)
    log(Priority::error, fmt::format("{}: {}{} paths are damaged: the next backup fetches them anew; 'syncropy list {}' shows the datasets that keep the damage "
                                     "until they expire, 'syncropy ls -R DATASET' the paths", scope.client, result.more ? "more than " : "",
                                     format_count(result.damage.size()), scope.client),
        {{"SYNCROPY_CLIENT", scope.client}}, message_id::file_damaged);
  if (!result.not_noted.empty())
    log(Priority::error, scope.client + ": what was found could not be noted in the repository, so the next backup may link it again: " + result.not_noted,
        {{"SYNCROPY_CLIENT", scope.client}}, message_id::file_damaged);
  if (result.is_damaged()) return ExitStatus::data;
  return result.not_noted.empty() ? ExitStatus::success : ExitStatus::busy;
}

// Before any thread: it takes a process of its own.
ExitStatus verify_catalog(const ServerSettings& settings, const Repository& repository, const std::vector<VerifyScope>& scopes, const VerifyArguments& arguments) {
  const Clock::time_point begun = Clock::now();
  std::vector<std::string> clients;
  for (const VerifyScope& scope : scopes) clients.push_back(scope.client);
  std::uint64_t rows = 0;
  const CatalogVerdict verdict = check_catalog_apart(settings.database, repository, clients, arguments.what.empty(), [&](std::uint64_t more) {
    rows += more;
    const std::string text = "catalog: " + format_count(rows) + " rows looked at";
    show_progress(text);
    notify_status(text);
    notify_progress(progress_seconds);
  });
  show_progress("");
  for (const std::string& note : verdict.notes) log(Priority::notice, note);
  for (const std::string& why : verdict.damage) {
    log(Priority::error, "the catalog is damaged: " + why + ": 'syncropy rebuild-catalog' makes it anew", {}, message_id::catalog_damaged);
    if (arguments.json) fmt::print(R"({{"problem":"catalog","why":{}}})" "\n", json_text(why));
  }
  const std::string seconds = fmt::format("{:.1f}", std::chrono::duration<double>(Clock::now() - begun).count());
  const std::string summary = fmt::format("catalog: {}: {} rows, in {} s", verdict.damage.empty() ? "in order" : "DAMAGED", format_count(rows), seconds);
  if (!arguments.json && !logs_to_journal()) fmt::print("{}\n", summary);
  else if (!arguments.json && verdict.damage.empty()) log(Priority::info, summary, {{"SYNCROPY_SECONDS", seconds}}, message_id::verified);
  return verdict.damage.empty() ? ExitStatus::success : ExitStatus::data;
}

}  // namespace

ExitStatus verb_verify(const std::string& config, const VerifyArguments& arguments) {
  const ServerSettings settings = load_server_settings(configuration_file(config), arguments.catalog ? Secrets::of_database : Secrets::none);
  set_log_fields({{"SYNCROPY_CONFIG", escape(settings.name)}});
  become_owner_of(settings.repository);
  const Repository repository = Repository::open(settings.repository, false);
  const VerifyOptions options{arguments.percent, arguments.idle};
  const std::vector<VerifyScope> scopes = verify_scopes(repository, arguments.what);
  ExitStatus status = ExitStatus::success;
  // A client's rows are compared with all of its datasets.
  if (arguments.catalog && !scopes.empty() && scopes.front().whole()) {
    try {
      status = verify_catalog(settings, repository, scopes, arguments);
    } catch (const Error& error) {
      log(Priority::error, "the catalog cannot be verified: " + error.line(), {{"SYNCROPY_STATUS", std::to_string(static_cast<int>(error.status()))}},
          message_id::run_failed);
      status = error.status();
    }
  }
  for (const VerifyScope& scope : scopes) {
    ExitStatus one = ExitStatus::success;
    try {
      one = verify_one(repository, scope, options, arguments.json);
    } catch (const Error& error) {
      if (arguments.what.empty()) {  // the others are verified whatever becomes of this one
        one = error.status();
        log(Priority::error, scope.client + ": " + error.line(),
            {{"SYNCROPY_CLIENT", scope.client}, {"SYNCROPY_STATUS", std::to_string(static_cast<int>(error.status()))}}, message_id::of_failure(error.status()));
      } else {
        throw;
      }
    }
    // Damage comes before anything else that may be said.
    if (status == ExitStatus::success || one == ExitStatus::data) status = one;
  }
  return status;
}

}  // namespace syncropy

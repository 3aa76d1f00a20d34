#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "restore/session.hpp"
#include "sd/journal.hpp"
#include "server/progress.hpp"
#include "server/restore.hpp"
#include "server/select.hpp"
#include "transport/tls.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr unsigned local_stall_seconds = 86'400;  // both ends are in this process: only a stuck disk is silent that long
constexpr std::size_t listed_conflicts = 20;

// The other end of a restore in this process.
class LocalWorker {
 public:
  LocalWorker(const std::string& folder, std::string& target) : root_(open_root(folder, target)) {
    auto [ours, theirs] = socket_pair();
    stream_ = plain_stream(std::move(ours), local_stall_seconds);
    thread_ = std::thread([this, secured = plain_stream(std::move(theirs), local_stall_seconds)]() mutable {
      try {
        serve_restore(*secured.stream, {{"/"}, {}}, root_);
      } catch (const Error&) {
        // The asking end has been told.
      }
    });
  }
  ~LocalWorker() {
    if (stream_.stream) stream_.stream->abort();
    thread_.join();
  }
  LocalWorker(const LocalWorker&) = delete;
  LocalWorker& operator=(const LocalWorker&) = delete;
  [[nodiscard]] SecuredStream take_stream() { return std::move(stream_); }

 private:
  // A folder that is not there yet is made by the restore, in the folder above it.
  static Fd open_root(const std::string& folder, std::string& target) {
    Fd root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (root || errno != ENOENT) {
      if (!root) throw_errno(ExitStatus::no_input, "open", folder, "name a folder");
      return root;
    }
    std::string path = folder;
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    const std::size_t slash = path.rfind('/');
    const std::string above = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    target = slash == std::string::npos ? path : path.substr(slash + 1);
    root = Fd(::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root) throw_errno(ExitStatus::no_input, "open", above, "make that folder, or name another");
    return root;
  }

  Fd root_;
  SecuredStream stream_;
  std::thread thread_;
};

const char* word_of(RestoreResult result, bool dry_run) {
  switch (result) {
    case RestoreResult::created: return dry_run ? "create" : "created";
    case RestoreResult::replaced: return dry_run ? "replace" : "replaced";
    case RestoreResult::adjusted: return dry_run ? "adjust" : "adjusted";
    case RestoreResult::same: return "same";
    case RestoreResult::kept: return dry_run ? "keep" : "kept";
    case RestoreResult::conflict: return "conflict";
    case RestoreResult::failed: return dry_run ? "cannot" : "failed";
  }
  return "";
}

std::string reason(const Shortfall& shortfall) {
  const int code = static_cast<int>(shortfall.code);
  if (shortfall.what.starts_with("content")) {
    if (code == EBADMSG) return "what is stored of it is not what was backed up";
    if (code == ENOENT) return "what was stored of it is gone from the repository";
    if (code == ENODATA) return "it could not be read when the backup was made";
  }
  if (shortfall.what == "policy") return "the agent's policy forbids it";
  return std::strerror(code);
}

// Prints what becomes of each entry, and keeps what the closing summary tells.
class RestoreReport {
 public:
  explicit RestoreReport(const RestoreArguments& arguments) : arguments_(arguments) {}

  void entry(const std::string& path, FileType type, const RestoreOutcome& outcome) {
    const bool prints = arguments_.json || arguments_.verbose || arguments_.dry_run;
    for (const Shortfall& shortfall : outcome.shortfalls) {
      Lack& lack = lacks_[{outcome.result == RestoreResult::failed, shortfall.what, reason(shortfall)}];
      if (lack.count++ == 0) lack.first = path;
    }
    if (arguments_.json) return print_json(path, type, outcome);
    // What lies below a folder that could not be entered is its fault.
    const bool stopped = outcome.result == RestoreResult::conflict || outcome.result == RestoreResult::failed;
    if (stopped && !prints && !stopped_at_.empty() && path.starts_with(stopped_at_)) return;
    if (stopped && type == FileType::folder) stopped_at_ = path + "/";
    if (outcome.result == RestoreResult::conflict && ++conflicts_ > listed_conflicts && !prints) return;
    const bool matters = outcome.result == RestoreResult::conflict || (outcome.result == RestoreResult::failed && failed_++ < listed_failures);
    if (!prints && !matters) return;
    show_progress("");
    std::string line = fmt::format("{:<8} {} /{}", word_of(outcome.result, arguments_.dry_run), letter_of(type), escape(path));
    for (const Shortfall& shortfall : outcome.shortfalls)
      line += (&shortfall == outcome.shortfalls.data() ? "  (" : ", ") + escape(shortfall.what) + ": " + escape(reason(shortfall));
    if (!outcome.shortfalls.empty()) line += ")";
    fmt::print(prints ? stdout : stderr, "{}\n", line);
  }

  void removed(const std::string& path, std::uint32_t code) {
    if (arguments_.json) {
      fmt::print("{{\"path\": {}, \"result\": \"{}\"}}\n", json_text("/" + path), code == 0 ? "removed" : "not removed");
    } else if (code != 0 || arguments_.verbose || arguments_.dry_run) {
      show_progress("");
      const char* word = code != 0 ? "cannot remove" : arguments_.dry_run ? "remove  " : "removed ";
      fmt::print(code != 0 ? stderr : stdout, "{}   /{}{}\n", word, escape(path), code != 0 ? std::string("  (") + std::strerror(static_cast<int>(code)) + ")" : "");
    }
  }

  void summary(const std::string& source, const std::string& target, const RestoreCounts& counts, double seconds) const {
    if (arguments_.json) {
      fmt::print("{{\"summary\": true, \"dataset\": {}, \"target\": {}, \"dry_run\": {}, \"created\": {}, \"replaced\": {}, \"adjusted\": {}, \"same\": {}, "
                 "\"kept\": {}, \"conflicts\": {}, \"failed\": {}, \"incomplete\": {}, \"removed\": {}, \"not_removed\": {}, \"bytes\": {}, \"seconds\": {:.3f}}}\n",
                 json_text(source), json_text(target), arguments_.dry_run, counts.created, counts.replaced, counts.adjusted, counts.same, counts.kept,
                 counts.conflicts, counts.failed, counts.incomplete, counts.removed, counts.not_removed, counts.bytes, seconds);
      return;
    }
    std::string parts;
    auto part = [&](std::uint64_t count, const char* word) {
      if (count > 0) parts += (parts.empty() ? "" : ", ") + format_count(count) + " " + word;
    };
    const bool dry = arguments_.dry_run;
    part(counts.created, dry ? "to create" : "created");
    part(counts.replaced, dry ? "to replace" : "replaced");
    part(counts.adjusted, dry ? "to adjust" : "adjusted");
    part(counts.same, "there already");
    part(counts.kept, "kept as they are");
    part(counts.conflicts, "in conflict");
    part(counts.failed, "failed");
    part(counts.removed, dry ? "to remove" : "removed");
    part(counts.not_removed, "not removed");
    fmt::print(stderr, "{} {} to {}: {}; {} in {:.1f} s\n", dry ? "compared" : "restored", source, escape(target), parts.empty() ? "nothing" : parts, format_bytes(counts.bytes), seconds);
    for (const auto& [key, lack] : lacks_) {
      const auto& [failed, what, why] = key;
      fmt::print(stderr, "  {}: {} of {} entries, first /{} ({})\n", failed ? "not restored" : "not given back", escape(what), format_count(lack.count), escape(lack.first), escape(why));
    }
  }

 private:
  static constexpr std::size_t listed_failures = 1'000;
  struct Lack {
    std::uint64_t count = 0;
    std::string first;
  };

  void print_json(const std::string& path, FileType type, const RestoreOutcome& outcome) const {
    std::string lacks;
    for (const Shortfall& shortfall : outcome.shortfalls)
      lacks += fmt::format("{}{{\"what\": {}, \"why\": {}, \"errno\": {}}}", lacks.empty() ? "" : ", ", json_text(shortfall.what), json_text(reason(shortfall)), shortfall.code);
    fmt::print("{{\"path\": {}, \"type\": \"{}\", \"result\": \"{}\", \"shortfalls\": [{}]}}\n", json_text("/" + path), letter_of(type), word_of(outcome.result, false), lacks);
  }

  const RestoreArguments& arguments_;
  std::map<std::tuple<bool, std::string, std::string>, Lack> lacks_;
  std::size_t conflicts_ = 0, failed_ = 0;
  std::string stopped_at_;  // a folder that could not be entered, with a slash behind it
};

// The live line.
class RestoreTicker {
 public:
  explicit RestoreTicker(const RestoreProgress& progress) : progress_(progress), thread_([this] { tick(); }) {}
  ~RestoreTicker() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
    show_progress("");
  }
  RestoreTicker(const RestoreTicker&) = delete;
  RestoreTicker& operator=(const RestoreTicker&) = delete;

 private:
  void tick() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, std::chrono::milliseconds(250), [this] { return ended_; }))
      show_progress(std::string(progress_.stage.load()) + ", " + format_count(progress_.entries) + " entries, " + format_bytes(progress_.bytes));
  }
  const RestoreProgress& progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

AccountMapping parse_mapping(const std::string& text, const char* option) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size() || text.find(':', colon + 1) != std::string::npos)
    throw Error(ExitStatus::usage, std::string(option) + " '" + escape(text) + "' is not OLD:NEW", "write two names or numbers with one colon between them");
  return {text.substr(0, colon), text.substr(colon + 1)};
}

RestoreRules rules_of(const RestoreArguments& arguments) {
  RestoreRules rules;
  rules.remove_others = arguments.remove_others;
  rules.dry_run = arguments.dry_run;
  rules.numeric = arguments.numeric;
  rules.excludes = arguments.excludes;
  for (const std::string& text : arguments.map_owner) rules.users.push_back(parse_mapping(text, "--map-owner"));
  for (const std::string& text : arguments.map_group) rules.groups.push_back(parse_mapping(text, "--map-group"));
  if (arguments.existing == "skip") rules.existing = Existing::skip;
  else if (arguments.existing == "replace") rules.existing = Existing::replace;
  else if (arguments.existing == "newer") rules.existing = Existing::newer;
  if (!arguments.target.empty()) {
    if (!arguments.target.starts_with('/')) throw Error(ExitStatus::usage, "--target " + escape(arguments.target) + " is not absolute", "write it from the root of the client");
    rules.target = entry_path(arguments.target);
  }
  if (rules.remove_others && !arguments.includes.empty())
    throw Error(ExitStatus::usage, "--delete makes whole folders an exact copy, and --include chooses among what is in them", "leave one of them out");
  if (!arguments.local.empty() && (!arguments.to.empty() || !arguments.target.empty()))
    throw Error(ExitStatus::usage, "--local restores into a folder of this machine; --to and --target are for a client", "leave one of them out");
  return rules;
}

DatasetSource source_of(const RestoreArguments& arguments, const std::optional<ServerSettings>& settings) {
  if (!arguments.from.empty()) return DatasetSource::from_folder(arguments.from);
  return DatasetSource(select_dataset(Repository::open(settings->repository, false), arguments.dataset));
}

ClientSettings worker_settings(const ServerSettings& settings, const std::string& name) {
  const auto client = std::find_if(settings.clients.begin(), settings.clients.end(), [&](const ClientSettings& one) { return one.name == name; });
  if (client == settings.clients.end())
    throw Error(ExitStatus::usage, settings.file + " has no client '" + escape(name) + "'", "name one of its clients after --to, or restore with --local FOLDER");
  ClientSettings worker = *client;
  if (!worker.restore_host.empty()) worker.host = worker.restore_host;
  worker.port = worker.restore_port;
  return worker;
}

ExitStatus status_of(const RestoreCounts& counts, bool dry_run) {
  if (counts.conflicts > 0 && !dry_run) return ExitStatus::conflict;
  if (counts.damaged > 0) return ExitStatus::data;
  return counts.failed + counts.incomplete + counts.not_removed > 0 ? ExitStatus::partial : ExitStatus::success;
}

}  // namespace

ExitStatus verb_restore(const std::string& config, const RestoreArguments& arguments) {
  RestoreRules rules = rules_of(arguments);
  std::optional<ServerSettings> settings;
  if (arguments.from.empty() || arguments.local.empty()) settings = load_server_settings(configuration_file(config), arguments.local.empty() ? Secrets::all : Secrets::none);
  DatasetSource source = source_of(arguments, settings);
  const Selection selection{arguments.paths, arguments.includes, arguments.excludes};

  std::optional<LocalWorker> local;
  std::optional<AgentSession> worker;
  std::string target;
  if (!arguments.local.empty()) {
    target = arguments.local;
    local.emplace(arguments.local, rules.target);
    worker.emplace(local->take_stream(), "the restore", false);
  } else {
    const std::string client = arguments.to.empty() ? source.info().client : arguments.to;
    target = client + ":/" + rules.target;
    worker.emplace(worker_settings(*settings, client));
  }

  RestoreReport report(arguments);
  RestoreProgress progress;
  const auto begun = std::chrono::steady_clock::now();
  RestoreEvents events;
  events.on_entry = [&](const std::string& path, FileType type, const RestoreOutcome& outcome) { report.entry(path, type, outcome); };
  events.on_removed = [&](const std::string& path, std::uint32_t code) { report.removed(path, code); };
  std::optional<RestoreTicker> ticker(std::in_place, progress);
  const RestoreCounts counts = restore(*worker, source, rules, selection, progress, events);
  ticker.reset();
  worker.reset();
  if (counts.conflicts > 0 && !rules.dry_run)
    throw Error(ExitStatus::conflict, "something else is in the place of " + format_count(counts.conflicts) + " entries in " + escape(target) + ", and nothing was touched",
                "see it all with --dry-run, then choose --existing=skip, replace or newer");
  report.summary(source.name(), target, counts, std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  return status_of(counts, rules.dry_run);
}

}  // namespace syncropy

#include "server/verify.hpp"

#include <fcntl.h>

#include <algorithm>
#include <exception>
#include <thread>

#include "repository/manifest-store.hpp"
#include "server/select.hpp"
#include "server/verify-findings.hpp"
#include "server/verify-noting.hpp"
#include "server/verify-range.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"
#include "util/folder.hpp"
#include "util/idle-io.hpp"

namespace syncropy {
namespace {

constexpr unsigned least_threads = 2, most_threads = 8;

// Another thread has failed: this one ends too.
struct Stopped {};

class ClientVerification {
 public:
  ClientVerification(ClientStore& store, const VerifyScope& scope, const VerifyOptions& options, VerifyProgress& progress,
                     const std::function<void(const std::string&, const DamagedPath&)>& on_found)
      : store_(store), scope_(scope), options_(options), progress_(progress), findings_(progress, on_found),
        slice_(VerifySlice::of(options.percent ? store.verified_up_to() : 0, options.percent)) {}

  VerifyResult run() {
    progress_.stage = "reading manifests";
    open_datasets();
    progress_.stage = "verifying";
    std::atomic<std::size_t> next = 0;
    progress_.all_parts = cuts_.size();
    in_threads([&](VerifyRange& range) {
      for (std::size_t i = next++; i < cuts_.size(); i = next++) {
        range.check(cuts_[i], i + 1 < cuts_.size() ? &cuts_[i + 1] : nullptr);
        ++progress_.parts;
      }
    });
    check_counts();
    progress_.stage = "noting what was found";
    summarise();
    note_damage(store_, findings_, datasets_, options_.lock_wait_seconds, on_bytes_, result_);
    if (slice_.width != 0) store_.set_verified_up_to(slice_.from + slice_.width);
    return std::move(result_);
  }

 private:
  [[nodiscard]] bool is_wanted(Tier tier, const std::string& name) const {
    return scope_.whole() || (scope_.tier == tier && (scope_.name.empty() || scope_.name == name));
  }

  // The newest first: what the datasets share is read while that is held, which does not expire.
  void open_datasets() {
    const ClientStore::Datasets all = store_.datasets();
    for (const DamagedDataset& damaged : all.damaged)
      if (is_wanted(damaged.tier, damaged.name)) {
        result_.manifests.emplace_back(std::string(name_of(damaged.tier)) + "/" + damaged.name, damaged.why);
        ++progress_.damaged;
      }
    for (auto dataset = all.good.rbegin(); dataset != all.good.rend(); ++dataset)
      if (is_wanted(dataset->info.tier, dataset->info.name)) open_dataset(dataset->info);
    for (const VerifyDataset& dataset : datasets_)
      for (const SegmentInfo& segment : dataset.segments) cuts_.push_back(segment.first_path);
    std::sort(cuts_.begin(), cuts_.end(), [](const std::string& left, const std::string& right) { return compare_paths(left, right) < 0; });
    cuts_.erase(std::unique(cuts_.begin(), cuts_.end()), cuts_.end());
  }

  void open_dataset(const DatasetInfo& info) {
    VerifyDataset& dataset = datasets_.emplace_back();
    dataset.info = info;
    dataset.name = std::string(name_of(info.tier)) + "/" + info.name;
    const std::string subject = full_name(info);
    try {
      const Fd folder = store_.open_dataset(info.tier, info.name);
      const Fd manifest = open_beneath(folder.get(), "manifest", O_RDONLY | O_DIRECTORY);
      if (!manifest) throw SystemError(damage_status(errno), errno, "open the manifest of", subject);
      dataset.segments = read_index(manifest.get(), subject).segments;
      std::vector<std::string> expected{"index"};
      for (const SegmentInfo& segment : dataset.segments) expected.push_back(segment_file(segment.digest));
      std::sort(expected.begin(), expected.end());
      for (const std::string& name : names_in(manifest.get()))
        if (!std::binary_search(expected.begin(), expected.end(), name))
          findings_.add_manifest(dataset, subject + "/manifest/" + escape(name) + ": is no part of it");
    } catch (const Error& error) {
      if (error.status() == ExitStatus::no_input) dataset.gone = true;
      else if (error.status() == ExitStatus::data) findings_.add_manifest(dataset, error.what());
      else throw;
    }
  }

  // Calls `work` in several threads at once, each with a range of its own. What one throws ends all.
  void in_threads(const std::function<void(VerifyRange&)>& work) {
    std::mutex mutex;
    std::exception_ptr failure;
    const unsigned wanted = std::clamp(std::thread::hardware_concurrency(), least_threads, most_threads);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < wanted; ++i)
      threads.emplace_back([&] {
        std::optional<IdleIo> idle;
        if (options_.idle) idle.emplace();
        VerifyRange range(store_, datasets_, slice_, findings_, progress_, on_bytes_);
        try {
          work(range);
        } catch (const Stopped&) {
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!failure) failure = std::current_exception();
          stopped_ = true;
        }
        const std::lock_guard lock(mutex);
        result_.split += range.split();
      });
    for (std::thread& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
  }

  // Folders that are too large for one range, or were on the way to another.
  void check_counts() {
    std::vector<const std::pair<const std::string, std::vector<std::uint64_t>>*> folders;
    for (const auto& counted : findings_.counted()) folders.push_back(&counted);
    std::atomic<std::size_t> next = 0;
    in_threads([&](VerifyRange& range) {
      for (std::size_t i = next++; i < folders.size(); i = next++)
        for (std::size_t index = 0; index < datasets_.size(); ++index)
          if (folders[i]->second[index] != VerifyFindings::not_looked_at) range.check_count(index, folders[i]->first, folders[i]->second[index]);
    });
  }

  void summarise() {
    for (const VerifyDataset& dataset : datasets_) ++(dataset.gone ? result_.expired : result_.datasets);
    result_.names = progress_.names;
    result_.files = progress_.files;
    result_.bytes = progress_.bytes;
  }

  ClientStore& store_;
  const VerifyScope& scope_;
  const VerifyOptions& options_;
  VerifyProgress& progress_;
  VerifyFindings findings_;
  const VerifySlice slice_;
  std::atomic<bool> stopped_ = false;
  const std::function<void(std::uint64_t)> on_bytes_ = [this](std::uint64_t bytes) {
    progress_.bytes += bytes;
    if (stopped_) throw Stopped{};
  };
  std::deque<VerifyDataset> datasets_;  // by sequence, the newest first; an element never moves
  std::vector<std::string> cuts_;       // where a segment of any dataset begins
  VerifyResult result_;
};

}  // namespace

std::vector<VerifyScope> verify_scopes(const Repository& repository, const std::string& what) {
  std::vector<VerifyScope> scopes;
  if (what.empty()) {
    for (const std::string& client : repository.clients()) scopes.push_back({client, std::nullopt, {}});
    return scopes;
  }
  const std::size_t slash = what.find('/'), second = slash == std::string::npos ? slash : what.find('/', slash + 1);
  VerifyScope scope{what.substr(0, slash), std::nullopt, {}};
  if (what.find('@') == std::string::npos) {
    const ClientStore store = repository.client(scope.client);
    if (slash == std::string::npos) return {scope};
    scope.tier = tier_from_name(what.substr(slash + 1, second - slash - 1));
    if (!scope.tier)
      throw Error(ExitStatus::usage, "'" + escape(what) + "' does not name a tier", "write CLIENT/TIER, with TIER one of hour, day, week, month");
    if (second == std::string::npos) return {scope};
    scope.name = what.substr(second + 1);
    // One with a damaged index can be told from its folder alone.
    for (const DamagedDataset& damaged : store.datasets().damaged)
      if (damaged.tier == scope.tier && damaged.name == scope.name) return {scope};
  }
  const DatasetInfo info = select_dataset(repository, what).info;
  return {{info.client, info.tier, info.name}};
}

VerifyResult verify_client(ClientStore& store, const VerifyScope& scope, const VerifyOptions& options, VerifyProgress& progress,
                           const std::function<void(const std::string&, const DamagedPath&)>& on_found) {
  if (options.percent && !scope.whole()) throw Error(ExitStatus::usage, "a sample is taken of all datasets of a client", "name a client, or nothing");
  return ClientVerification(store, scope, options, progress, on_found).run();
}

}  // namespace syncropy

#include "server/catalog-check.hpp"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <optional>

#include "catalog/check.hpp"
#include "repository/manifest-store.hpp"
#include "server/record.hpp"
#include "server/select.hpp"
#include "util/apart.hpp"
#include "util/error.hpp"
#include "util/folder.hpp"
#include "util/format.hpp"
#include "util/unexpected.hpp"

namespace syncropy {
namespace {

// A dataset that stands in both, held against expiry.
struct CommonDataset {
  DatasetInfo info;
  Fd folder;
};

std::string name_in_client(const DatasetInfo& info) { return std::string(name_of(info.tier)) + "/" + info.name; }

class ClientComparison {
 public:
  ClientComparison(CatalogCheck& check, const ClientStore& store, const CatalogCheckEvents& events) : check_(check), store_(store), events_(events) {}

  void compare() {
    check_.begin();  // before the repository is looked at: what comes or goes meanwhile is not in common
    find_common();
    if (common_.empty()) return;
    std::vector<std::uint64_t> sequences;
    for (const CommonDataset& dataset : common_) sequences.push_back(dataset.info.sequence);
    const Fingerprint is = check_.read(store_.name(), sequences);
    const std::optional<Fingerprint> should_be = expected();
    if (!should_be) return;
    if (const std::optional<std::uint64_t> first = should_be->first_difference(is)) {
      const auto dataset = std::find_if(common_.begin(), common_.end(), [&](const CommonDataset& common) { return common.info.sequence == *first; });
      events_.on_damage(store_.name() + ": the catalog shows something else than the manifests, from " + name_in_client(dataset->info) + " on");
    }
  }

 private:
  void find_common() {
    const std::vector<RecordedDataset> recorded = check_.datasets(store_.name());
    std::size_t not_recorded = 0;
    for (const StoredDataset& stored : store_.datasets().good) {
      const auto row = std::find_if(recorded.begin(), recorded.end(), [&](const RecordedDataset& candidate) {
        return candidate.info.sequence == stored.info.sequence && candidate.info.tier == stored.info.tier && candidate.info.name == stored.info.name;
      });
      if (row == recorded.end()) {
        ++not_recorded;
        continue;
      }
      Fd folder;
      try {
        folder = store_.open_dataset(stored.info.tier, stored.info.name);
      } catch (const Error& error) {
        if (error.status() != ExitStatus::no_input) throw;
        continue;  // expired meanwhile
      }
      DatasetInfo info = stored.info;
      info.paths.clear(), info.excludes.clear();  // of which a catalog has none
      if (!(info == row->info)) events_.on_damage(full_name(info) + ": the catalog says of it as a whole what its manifest does not");
      common_.push_back({stored.info, std::move(folder)});
    }
    if (not_recorded > 0) events_.on_note(store_.name() + ": " + format_count(not_recorded) + " datasets are not recorded: the next run records them");
    if (recorded.size() > common_.size())
      events_.on_note(store_.name() + ": " + format_count(recorded.size() - common_.size()) + " recorded datasets are not in the repository: the next run takes them out of the catalog");
  }

  // None where a manifest cannot be read, which verifying the manifests says too.
  std::optional<Fingerprint> expected() const {
    Fingerprint sum;
    try {
      for (std::size_t i = 0; i < common_.size(); ++i) {
        const std::uint64_t sequence = common_[i].info.sequence;
        ManifestReader after = manifest(common_[i]);
        auto begin = [&](const Entry& entry) { sum.begin(digest_of_row(row_values(entry)), sequence); };
        auto end = [&](const Entry& entry) { sum.end(digest_of_row(row_values(entry)), sequence); };
        if (i == 0) {
          Entry entry;
          while (after.next(entry)) begin(entry);
          continue;
        }
        ManifestReader before = manifest(common_[i - 1]);
        compare_manifests(before, after, {end, [&](const Entry& was, const Entry& is) { end(was), begin(is); }, begin});
        events_.on_rows(0);
      }
      return sum;
    } catch (const Error& error) {
      if (error.status() != ExitStatus::data) throw;
      events_.on_note(store_.name() + ": the catalog cannot be compared: " + error.what());
      return std::nullopt;
    }
  }

  [[nodiscard]] static ManifestReader manifest(const CommonDataset& dataset) {
    Fd folder = open_beneath(dataset.folder.get(), "manifest", O_RDONLY | O_DIRECTORY);
    if (!folder) throw SystemError(damage_status(errno), errno, "open the manifest of", full_name(dataset.info));
    return ManifestReader(std::move(folder), full_name(dataset.info));
  }

  CatalogCheck& check_;
  const ClientStore& store_;
  const CatalogCheckEvents& events_;
  std::vector<CommonDataset> common_;  // by sequence
};

}  // namespace

void check_catalog(const DatabaseSettings& database, const Repository& repository, const std::vector<std::string>& clients, bool all,
                   const CatalogCheckEvents& events) {
  CatalogCheck check(catalog_location(database, repository), {events.on_damage, events.on_rows});
  for (const std::string& client : clients) ClientComparison(check, repository.client(client), events).compare();
  if (!all) return;
  check.begin();
  check.check_indexes();
  check.check_definitions();
  check.check_pages();
}

namespace {

// A line of the process apart: what it is, then the text.
enum Line : char { damage_line = 'd', note_line = 'n', rows_line = 'r', failure_line = 'f' };
constexpr char between = '\t';  // status, what and remedy of a failure: in no escaped text
constexpr auto patience = std::chrono::hours(1);
constexpr std::size_t most_told = 1'000;

std::string failure_text(const Error& error) {
  return std::to_string(static_cast<int>(error.status())) + between + error.what() + between + error.remedy();
}

Error failure_from(std::string_view text) {
  const std::size_t first = text.find(between), second = text.find(between, first + 1);
  return Error(static_cast<ExitStatus>(std::stoi(std::string(text.substr(0, first)))), std::string(text.substr(first + 1, second - first - 1)),
               std::string(text.substr(second + 1)));
}

}  // namespace

CatalogVerdict check_catalog_apart(const DatabaseSettings& database, const Repository& repository, const std::vector<std::string>& clients, bool all,
                                   const std::function<void(std::uint64_t)>& on_rows) {
  CatalogVerdict verdict;
  std::optional<Error> failure;
  const ApartEnd end = run_apart(
      [&](const TellLine& tell) {
        auto told = [&](Line kind) { return [&tell, kind](const std::string& text) { tell(std::string(1, kind) + text); }; };
        try {
          check_catalog(database, repository, clients, all, {told(damage_line), told(note_line), [&](std::uint64_t rows) { told(rows_line)(std::to_string(rows)); }});
        } catch (const Error& error) {
          told(failure_line)(failure_text(error));
        } catch (const std::bad_alloc& error) {
          told(failure_line)(failure_text(as_error(error)));
        }
      },
      [&](std::string_view line) {
        const std::string_view text = line.substr(std::min<std::size_t>(line.size(), 1));
        switch (line.empty() ? '\0' : line.front()) {
          case damage_line: if (verdict.damage.size() < most_told) verdict.damage.emplace_back(text); break;
          case note_line: if (verdict.notes.size() < most_told) verdict.notes.emplace_back(text); break;
          case rows_line: on_rows(std::stoull(std::string(text))); break;
          case failure_line: failure.emplace(failure_from(text)); break;
          default: break;
        }
      },
      patience);
  if (end == ApartEnd::crashed) verdict.damage.emplace_back("reading the catalog makes Firebird's engine crash");
  if (end == ApartEnd::silent) verdict.damage.emplace_back("Firebird's engine does not get to an end with the catalog");
  if (end == ApartEnd::killed && verdict.damage.empty())
    throw Error(ExitStatus::starved, "the process that reads the catalog was killed", "if nobody did, the memory was too little ('journalctl -k' says so): give it more");
  if (failure && failure->status() != ExitStatus::data) throw Error(*failure);
  if (failure) verdict.damage.emplace_back(failure->what());
  return verdict;
}

}  // namespace syncropy

#pragma once
// The directory with the trees: syncropy-repository(5). Every name in it is built here or in model/dataset.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/dataset.hpp"
#include "model/manifest.hpp"
#include "util/acting-as.hpp"
#include "util/fd.hpp"

namespace syncropy {

// A dataset as the repository holds it.
struct StoredDataset {
  DatasetInfo info;
};

// A dataset whose manifest index cannot be read, or does not belong where it lies, or has the sequence of a newer one: reported, never linked
// from, never expired.
struct DamagedDataset {
  Tier tier{};
  std::string name;
  std::string why;
};

class Repository;

// A tree under construction: CLIENT/.staging/NAME with tree/ and manifest/ in it.
struct Staging {
  std::string name;
  Fd folder, tree, manifest;
  // Where `tree` is an expired one, what it holds, and where folders go that are taken out of it; empty where it is new and holds nothing.
  Fd spare_manifest, removed;
};

// What runs have met, for `syncropy status`. Times are seconds since 1970 UTC.
struct RunNotes {
  std::int64_t connected = 0;            // when the client's agent answered last; 0: never
  std::int64_t certificate_expires = 0;  // that of the certificate it showed then; 0: it showed none
  std::int64_t ended = 0;                // when a run ended last, and with which ExitStatus
  int last_status = 0;
  struct Failure {
    std::int64_t time = 0;
    Tier tier{};
    int status = 0;                      // ExitStatus
    std::string why;                     // escaped
  };
  std::optional<Failure> failure;        // of the last run that failed
};

enum class RetireResult { retired, in_use };

// One client's folder.
class ClientStore {
 public:
  // Takes the client's lock (flock on its folder), waiting up to `wait_seconds`; throws Error(busy) after that. Held until destruction.
  void lock(unsigned wait_seconds);

  struct Datasets {
    std::vector<StoredDataset> good;        // by sequence
    std::vector<DamagedDataset> damaged;
  };
  // Throws what says nothing about a dataset: no descriptors, no memory, a disk that fails.
  [[nodiscard]] Datasets datasets() const;
  // More than every sequence that was published here, as the file .sequence keeps it; without one, more than those of the datasets and the
  // spare that can be read, and by as many more as are damaged.
  [[nodiscard]] std::uint64_t next_sequence(const Datasets& datasets) const;

  // Opens a dataset's folder and holds a shared lock on it as long as the descriptor lives: expiry passes it over.
  [[nodiscard]] Fd open_dataset(Tier tier, const std::string& name) const;
  // Reads a dataset's whole manifest: what is wrong with it, or nothing.
  [[nodiscard]] std::optional<std::string> manifest_damage(Tier tier, const std::string& name) const;

  // The rule of recovery: what lies in .staging has no final name and goes to the trash; the link `latest` points to the newest
  // dataset. Safe to apply twice. Returns how many unfinished trees there were. Needs the lock.
  unsigned recover() const;

  [[nodiscard]] Staging begin(const std::string& name) const;
  // Like begin(), but with the spare, where there is one that can be read; else empty. What becomes of it, a spare it is no longer.
  [[nodiscard]] std::optional<Staging> begin_with_spare(const std::string& name) const;
  // Its tree goes to the trash, and an empty one is in its place.
  void clear(Staging& staging) const;
  // Notes the sequence and the name, syncs the filesystem, renames the staging into its tier under the name it has there too, syncs both parents, moves
  // `latest`. Throws where that name is taken: nothing is replaced. The manifest holds the name, so free_name() gives it before it is written.
  void publish(Staging staging, Tier tier) const;
  // A name of this second that no dataset of the tier ever had, whatever the clock shows and whatever has expired. `sequence`: next_sequence().
  [[nodiscard]] std::string free_name(Tier tier, std::int64_t utc_seconds, std::uint64_t sequence) const;

  // Takes a dataset out of its tier: it becomes the spare, the spare there was goes to the trash.
  [[nodiscard]] RetireResult retire(Tier tier, const std::string& name) const;
  // The spare goes to the trash: a person asked for its space.
  void discard_spare() const;
  // Removes what lies in the trash, at idle I/O priority. Needs no lock; where another is at it already, that one does it. Ends early once
  // `go_on` says no.
  void empty_trash(const std::function<bool()>& go_on = {}) const;

  // Where in the circle of all path_hash() values the next sample of `syncropy verify` begins, kept in the file .verified.
  [[nodiscard]] std::uint64_t verified_up_to() const;
  void set_verified_up_to(std::uint64_t position) const;

  // Kept in the file .notes. What cannot be read there is as if it was never written. Setting them needs the lock.
  [[nodiscard]] RunNotes notes() const;
  void set_notes(const RunNotes& notes) const;

  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  friend class Repository;
  static constexpr const char* spare_folder = ".spare";
  ClientStore(Fd folder, std::string name, std::string where) : folder_(std::move(folder)), name_(std::move(name)), where_(std::move(where)) {}
  [[nodiscard]] Fd subfolder(const char* name, bool create) const;
  void to_trash(int from, const std::string& name) const;
  void open_parts(Staging& staging) const;
  // given.cpp: what publish() notes before it gives a name, and where it is read again.
  struct Given {
    std::uint64_t sequence = 0;                                          // the highest that was; 0: none is noted
    std::array<std::optional<std::int64_t>, all_tiers.size()> latest{};  // of each tier, the latest second that was a name
  };
  [[nodiscard]] std::optional<Given> read_given(const char* file) const;
  [[nodiscard]] Given given() const;
  void draft_given(Tier tier, std::uint64_t sequence, const std::string& name) const;  // durable with the next sync of the filesystem
  void settle_given() const;
  void point_latest(const std::string& leaving = {}) const;  // to the newest dataset, but for the one that is about to leave

  Fd folder_;
  std::string name_;
  std::string where_;  // for messages: REPOSITORY/CLIENT
};

class Repository {
 public:
  // Makes an empty repository at absolute path `path`: the folder if missing (its parent must exist), .syncropy/ in it. An existing folder must
  // be empty, but for what an interrupted create() left. Error(repository) otherwise.
  // With `owner`, which is for root alone, the folder is given to that account and all is made as that account.
  static void create(const std::string& path, const std::optional<Account>& owner = std::nullopt);
  // Throws Error(repository) when missing, not ours, of a newer format, or (with `writable`) not writable by this user.
  static Repository open(const std::string& path, bool writable);

  // The client's folder; made if missing when the repository was opened writable, else Error(no_input).
  [[nodiscard]] ClientStore client(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> clients() const;  // sorted
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& id() const { return id_; }
  // Where the embedded catalog and its engine's files lie by default.
  [[nodiscard]] std::string catalog_file() const { return path_ + "/.syncropy/catalog.fdb"; }
  [[nodiscard]] std::string engine_folder() const { return path_ + "/.syncropy/firebird"; }

 private:
  Repository(Fd root, std::string path, std::string id, bool writable)
      : root_(std::move(root)), path_(std::move(path)), id_(std::move(id)), writable_(writable) {}
  Fd root_;
  std::string path_, id_;
  bool writable_;
};

}  // namespace syncropy

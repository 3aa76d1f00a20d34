#pragma once
// What is stored, read again: manifests against their checksums, trees against manifests, content against digests.

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "repository/damage.hpp"
#include "repository/repository.hpp"

namespace syncropy {

// Which datasets of a client: all, those of a tier, or one.
struct VerifyScope {
  std::string client;
  std::optional<Tier> tier;
  std::string name;   // with `tier`
  [[nodiscard]] bool whole() const { return !tier; }
};
// From CLIENT, CLIENT/TIER, CLIENT/TIER/NAME or CLIENT@TIME; all clients of the repository for an empty text. Throws as select_dataset().
[[nodiscard]] std::vector<VerifyScope> verify_scopes(const Repository& repository, const std::string& what);

struct VerifyOptions {
  // Of a client's folders (and of its large files each by itself) this share, the next one at each call: of 5 %, twenty calls look at
  // everything. Only with a whole client. Manifests are read in any case.
  std::optional<double> percent;
  bool idle = false;                   // leave the disk to everybody else
  unsigned lock_wait_seconds = 3'600;  // for a run of the client to end, where something is to be noted
};

// Written by verify_client(), read by whoever shows it.
struct VerifyProgress {
  std::atomic<const char*> stage = "reading manifests";
  std::atomic<std::uint64_t> parts = 0, all_parts = 0;   // of the client's paths
  std::atomic<std::uint64_t> names = 0, files = 0, bytes = 0;
  std::atomic<std::uint64_t> damaged = 0;
};

struct DamagedPath {
  std::string path;                    // as bytes; empty for the tree itself
  DamageKind kind{};
  int code = 0;                        // the errno where it is unreadable
  std::uint64_t inode = 0;             // of the stored file that is not what it should be; 0 for anything else
  std::vector<std::string> datasets;   // that have it: "hour/2026-11-22T190500Z", oldest first
};

struct VerifyResult {
  unsigned datasets = 0;               // that were read
  unsigned expired = 0;                // that went away meanwhile
  std::uint64_t names = 0;             // in all trees together
  std::uint64_t files = 0, bytes = 0;  // read: each stored file once, however many datasets share it
  std::uint64_t split = 0;             // names of a client's inode that are stored as files of their own: no damage, a restore links them again
  std::vector<DamagedPath> damage;
  std::vector<std::pair<std::string, std::string>> manifests;  // datasets that cannot be read, or not whole, and why
  bool more = false;                   // there is more damage than is listed
  std::string not_noted;               // why the damage could not be noted in the repository; empty if it was
  [[nodiscard]] bool is_damaged() const { return !damage.empty() || !manifests.empty() || more; }
};

// Reads what `scope` says and notes what it finds in the datasets (repository/damage.hpp): all names in all datasets of the client of a file
// that is not what it should be. Each dataset is held against expiry while part of it is read, not longer. Backups may run meanwhile; noting
// waits for them. `on_found` is called from several threads, once a damaged file. Throws Error for what says nothing about what is stored.
[[nodiscard]] VerifyResult verify_client(ClientStore& store, const VerifyScope& scope, const VerifyOptions& options, VerifyProgress& progress,
                                         const std::function<void(const std::string& dataset, const DamagedPath& found)>& on_found);

}  // namespace syncropy

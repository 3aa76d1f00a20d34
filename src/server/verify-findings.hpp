#pragma once
// What the threads of a verification share: the datasets, which paths are looked at, and what was found.

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "model/manifest.hpp"
#include "repository/stored.hpp"
#include "server/verify.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::size_t verify_findings = 100'000;      // of one client: of more their number
inline constexpr std::size_t verify_inodes = 1'000'000;      // with several names, remembered: of more, each name is read
inline constexpr std::size_t verify_groups = 500'000;        // names of one inode in one dataset, likewise: more are not compared
}  // namespace limits

// Below this, files are drawn with their folder, so that few folders are opened; above it each by itself.
inline constexpr std::uint64_t verify_large_file = 64U << 20;

// A stretch of the circle of all path_hash() values.
struct VerifySlice {
  std::uint64_t from = 0, width = 0;  // width 0: all of it
  static VerifySlice of(std::uint64_t from, std::optional<double> percent);
  [[nodiscard]] bool has(std::string_view path) const { return width == 0 || path_hash(path) - from < width; }
};

struct VerifyDataset {
  DatasetInfo info;
  std::string name;                   // "hour/2026-11-22T190500Z"
  std::vector<SegmentInfo> segments;
  std::atomic<bool> gone = false;     // expired meanwhile
  std::atomic<bool> broken = false;   // part of its manifest cannot be read
};

// A stored file, as a dataset says what it holds.
struct StoredKey {
  std::uint64_t inode = 0;
  Digest digest{};
  bool operator==(const StoredKey&) const = default;
};
struct StoredKeyHash {
  std::size_t operator()(const StoredKey& key) const;
};

class VerifyFindings {
 public:
  VerifyFindings(VerifyProgress& progress, std::function<void(const std::string&, const DamagedPath&)> on_found)
      : progress_(progress), on_found_(std::move(on_found)) {}

  void add(VerifyDataset& dataset, const std::string& path, StoredState state, const StoredKey& stored = {});
  void add_manifest(VerifyDataset& dataset, const std::string& why);

  // For a file whose inode has several names on the client: whether it was read, or is to be read by the caller, who then says what it found.
  // `elsewhere`: another thread is reading it.
  enum class Claim { yours, elsewhere, known };
  [[nodiscard]] Claim claim(const StoredKey& key, StoredState& state);
  void settle(const StoredKey& key, StoredState state);
  // For one that has names at several paths for another reason, as where it was renamed on the client: what was remembered of it.
  [[nodiscard]] bool recall(const StoredKey& key, StoredState& state);
  void remember(const StoredKey& key, StoredState state);
  // The name of a client's inode in a dataset is stored as `stored`: true where another name of it is stored as something else.
  [[nodiscard]] bool splits(const VerifyDataset& dataset, const Stat& stat, std::uint64_t stored);

  // Names met so far in a folder whose entries are not all looked at in one go.
  static constexpr std::uint64_t not_looked_at = UINT64_MAX;
  void count_names(const std::string& folder, std::size_t dataset, std::size_t datasets, std::uint64_t names);

  // For when all threads have ended.
  struct Found {
    int code = 0;
    Digest digest{};
    std::set<const VerifyDataset*> datasets;
  };
  using Key = std::tuple<std::string, DamageKind, std::uint64_t>;  // path, kind, inode of the stored file
  [[nodiscard]] const std::map<Key, Found>& found() const { return found_; }
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& manifests() const { return manifests_; }
  // Datasets with more damage than was kept.
  [[nodiscard]] const std::set<const VerifyDataset*>& crowded() const { return crowded_; }
  [[nodiscard]] const std::unordered_map<std::string, std::vector<std::uint64_t>>& counted() const { return counted_; }

 private:
  VerifyProgress& progress_;
  std::function<void(const std::string&, const DamagedPath&)> on_found_;
  std::mutex mutex_;
  std::map<Key, Found> found_;
  std::set<const VerifyDataset*> crowded_;
  std::vector<std::pair<std::string, std::string>> manifests_;
  std::unordered_map<std::string, std::vector<std::uint64_t>> counted_;
  struct Shared {
    bool known = false;
    StoredState state;
  };
  std::mutex shared_mutex_;
  std::unordered_map<StoredKey, Shared, StoredKeyHash> shared_;
  std::unordered_map<std::uint64_t, std::uint64_t> groups_;
};

}  // namespace syncropy

#include "server/verify-findings.hpp"

#include <bit>
#include <cmath>
#include <cstring>

namespace syncropy {
namespace {

// The finisher of SplitMix64.
std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9U;
  value = (value ^ value >> 27) * 0x94D049BB133111EBU;
  return value ^ value >> 31;
}

}  // namespace

VerifySlice VerifySlice::of(std::uint64_t from, std::optional<double> percent) {
  if (!percent || *percent >= 100) return {};
  // Rounded up: as many calls as the percentage says look at everything.
  const double width = std::ceil(std::ldexp(*percent / 100, 64) * (1 + 1e-12));
  if (width >= std::ldexp(1.0, 64)) return {};
  return {from, static_cast<std::uint64_t>(width)};
}

std::size_t StoredKeyHash::operator()(const StoredKey& key) const {
  std::uint64_t digest = 0;
  std::memcpy(&digest, key.digest.data(), sizeof digest);
  return mixed(key.inode ^ std::rotl(digest, 32));
}

void VerifyFindings::add(VerifyDataset& dataset, const std::string& path, StoredState state, const StoredKey& stored) {
  bool is_new = false;
  {
    const std::lock_guard lock(mutex_);
    Key key{path, *state.damage, stored.inode};
    if (const auto known = found_.find(key); known != found_.end()) {
      known->second.datasets.insert(&dataset);
    } else if (found_.size() == limits::verify_findings) {
      crowded_.insert(&dataset);
      ++progress_.damaged;
    } else {
      found_.emplace(std::move(key), Found{state.code, stored.digest, {&dataset}});
      ++progress_.damaged;
      is_new = true;
    }
  }
  if (is_new) on_found_(dataset.name, {path, *state.damage, state.code, stored.inode, {}});
}

void VerifyFindings::add_manifest(VerifyDataset& dataset, const std::string& why) {
  dataset.broken = true;
  const std::lock_guard lock(mutex_);
  manifests_.emplace_back(dataset.name, why);
  ++progress_.damaged;
}

VerifyFindings::Claim VerifyFindings::claim(const StoredKey& key, StoredState& state) {
  const std::lock_guard lock(shared_mutex_);
  if (const auto place = shared_.find(key); place != shared_.end()) {
    state = place->second.state;
    return place->second.known ? Claim::known : Claim::elsewhere;
  }
  if (shared_.size() < limits::verify_inodes) shared_.emplace(key, Shared{});
  return Claim::yours;
}

void VerifyFindings::settle(const StoredKey& key, StoredState state) {
  const std::lock_guard lock(shared_mutex_);
  if (const auto place = shared_.find(key); place != shared_.end()) place->second = {true, state};
}

bool VerifyFindings::recall(const StoredKey& key, StoredState& state) {
  const std::lock_guard lock(shared_mutex_);
  const auto place = shared_.find(key);
  if (place == shared_.end() || !place->second.known) return false;
  state = place->second.state;
  return true;
}

void VerifyFindings::remember(const StoredKey& key, StoredState state) {
  const std::lock_guard lock(shared_mutex_);
  if (shared_.size() < limits::verify_inodes) shared_.try_emplace(key, Shared{true, state});
}

bool VerifyFindings::splits(const VerifyDataset& dataset, const Stat& stat, std::uint64_t stored) {
  const std::uint64_t group = mixed(mixed(mixed(stat.inode) + stat.filesystem) + dataset.info.sequence);
  const std::lock_guard lock(shared_mutex_);
  if (const auto place = groups_.find(group); place != groups_.end()) return place->second != stored;
  if (groups_.size() < limits::verify_groups) groups_.emplace(group, stored);
  return false;
}

void VerifyFindings::count_names(const std::string& folder, std::size_t dataset, std::size_t datasets, std::uint64_t names) {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint64_t>& counts = counted_.try_emplace(folder, datasets, not_looked_at).first->second;
  counts[dataset] = (counts[dataset] == not_looked_at ? 0 : counts[dataset]) + names;
}

}  // namespace syncropy

#include "catalog/interning.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace syncropy {

std::size_t Interning::Hash::operator()(const Digest& digest) const {
  std::size_t hash = 0;
  std::memcpy(&hash, digest.data(), sizeof hash);
  return hash;
}

void Interning::look_up(firebird::Transaction& transaction, std::span<const Digest> wanted) {
  if (is_full()) {
    known_.clear();
    empty_ = false;
  }
  if (empty_) return;
  std::vector<Digest> unknown;
  for (const Digest& digest : wanted)
    if (!known_.contains(digest)) unknown.push_back(digest);
  if (unknown.empty()) return;
  std::sort(unknown.begin(), unknown.end());
  unknown.erase(std::unique(unknown.begin(), unknown.end()), unknown.end());
  if (!query_) {
    std::string sql = fmt::format("SELECT digest, id FROM {} WHERE client = ? AND digest IN (?", table_);
    for (unsigned i = 1; i < query_digests; ++i) sql += ",?";
    query_ = std::make_unique<firebird::Statement>(transaction, sql + ")");
  }
  for (std::size_t at = 0; at < unknown.size(); at += query_digests) {
    query_->set(0, client_);
    for (unsigned i = 0; i < query_digests; ++i) query_->set(1 + i, as_bytes(unknown[std::min(at + i, unknown.size() - 1)]));
    query_->open(transaction);
    while (query_->fetch()) {
      const std::string bytes = query_->text(transaction, 0);
      Digest digest;
      std::copy_n(bytes.begin(), digest.size(), digest.begin());
      known_.emplace(digest, query_->integer(1));
    }
  }
}

Interning::Found Interning::id_of(const Digest& digest) {
  const auto [at, is_new] = known_.try_emplace(digest, last_id_ + 1);
  if (is_new) ++last_id_;
  return {at->second, is_new};
}

}  // namespace syncropy

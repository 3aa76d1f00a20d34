#pragma once
// Finding rows that many entries share, by the SHA-256 of what they say.

#include <span>
#include <unordered_map>

#include "catalog/firebird.hpp"
#include "util/digest.hpp"

namespace syncropy {

// The ids of one client's rows in one table (columns client, id, digest). Lives as long as a recording.
class Interning {
 public:
  // `last_id`: the highest id of this client in the table; 0 where it has no rows yet, which saves looking for any.
  Interning(const char* table, std::int64_t client, std::int64_t last_id) : table_(table), client_(client), last_id_(last_id), empty_(last_id == 0) {}

  // The next look_up() forgets all: whatever id_of() called new must be in the table by then.
  [[nodiscard]] bool is_full() const { return known_.size() > most_known; }
  // Makes sure that id_of() knows each of `wanted` that the table holds.
  void look_up(firebird::Transaction& transaction, std::span<const Digest> wanted);
  // The id of `digest`, and whether it is new: then the caller writes its row. Only for what was just looked up.
  struct Found {
    std::int64_t id;
    bool is_new;
  };
  [[nodiscard]] Found id_of(const Digest& digest);
  [[nodiscard]] std::int64_t last_id() const { return last_id_; }

  // Digests remembered: above this many all are forgotten and looked up again as they come.
  static inline std::size_t most_known = 65'536;  // a test sets it lower
  // Digests in one query.
  static constexpr unsigned query_digests = 64;

 private:
  struct Hash {
    std::size_t operator()(const Digest& digest) const;
  };
  const char* table_;
  std::int64_t client_, last_id_;
  bool empty_;  // every row of this client is in known_
  std::unordered_map<Digest, std::int64_t, Hash> known_;
  std::unique_ptr<firebird::Statement> query_;
};

}  // namespace syncropy

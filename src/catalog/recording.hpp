#pragma once
// One recording: entries to rows.

#include <optional>

#include "catalog/batch.hpp"
#include "catalog/catalog.hpp"
#include "catalog/interning.hpp"

namespace syncropy {

// The prepared statements of recordings, kept with the attachment. `short` and `long` are for paths of up to short_path_bytes and of up to
// schema::path_bytes; a longer path is a long one with a BLOB.
struct RecordingBatches {
  explicit RecordingBatches(firebird::Attachment& attachment);
  static constexpr std::size_t short_path_bytes = 300;
  Batch short_entries, long_entries, short_ends, long_ends, accounts, sets, acl_entries, xattrs, extents, link_targets;
};

// Until the transaction ends, no other changes what the catalog holds of the client. Waits for one that does; if that commits, Error busy.
void hold_client(firebird::Transaction& transaction, std::int64_t client);

struct Catalog::Recording::State {
  // `client` and `last_…` are the client's row; `in_use` is true while this lives.
  State(firebird::Attachment& attachment, RecordingBatches& batches, bool& in_use, std::string client_name, std::int64_t client,
        std::int64_t last_account, std::int64_t last_set, std::uint64_t sequence, std::uint64_t after);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void end_version(std::string_view path);
  void begin_version(const Entry& entry);
  void commit(const DatasetInfo& info);

 private:
  // What an entry shares with others, found before its row is written.
  struct Shared {
    Digest owner, group;
    std::optional<Digest> access_acl, default_acl, xattrs, extents, link_target;
  };
  static Shared shared_of(const Entry& entry);
  void write_pending();
  void write(const Entry& entry, const Shared& shared);
  [[nodiscard]] std::int64_t account_id(const Digest& digest, std::uint32_t number, std::string_view name);
  template <typename WriteRows>
  [[nodiscard]] std::optional<std::int64_t> set_id(const std::optional<Digest>& digest, std::int64_t kind,
                                                   std::optional<std::string_view> capabilities, WriteRows write_rows);
  void flush_all();

  firebird::Attachment& attachment_;
  RecordingBatches& batches_;
  bool& in_use_;
  std::string client_name_;
  std::int64_t client_, last_account_, last_set_, sequence_;
  firebird::Transaction transaction_;
  Interning accounts_, sets_;
  std::vector<Entry> pending_;
  std::size_t pending_bytes_ = 0;
  bool broken_ = false;  // a call has thrown: what is written is not the whole difference
};

}  // namespace syncropy

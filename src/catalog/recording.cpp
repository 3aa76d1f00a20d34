#include "catalog/recording.hpp"

#include <array>
#include <utility>

#include "catalog/columns.hpp"
#include "catalog/schema.hpp"

namespace syncropy {
namespace {

// Entries are gathered until there are this many, so that what they share is looked up by one query; or until their attributes hold this
// many bytes.
constexpr std::size_t most_pending = 80;
constexpr std::size_t most_pending_bytes = 4U << 20;

constexpr const char* text_type(bool is_long) { return is_long ? "VARCHAR(1000) CHARACTER SET NONE" : "VARCHAR(300) CHARACTER SET NONE"; }
constexpr const char* digest_type = "CHAR(32) CHARACTER SET OCTETS";
constexpr std::array client_and_sequence{"INTEGER", "BIGINT"};
constexpr std::array client_only{"INTEGER"};

constexpr std::string_view entry_statement =
    "INSERT INTO entry (client,from_sequence,to_sequence,path,kind,mode,owner_account,group_account,size_bytes,mtime,mtime_ns,ctime,ctime_ns,inode,"
    "filesystem,links,device_major,device_minor,flags,digest,link_target,access_acl,default_acl,xattrs,extents,long_path) "
    "VALUES (:shared0,:shared1,9223372036854775807,?a,?b,?c,?d,?e,?f,?g,?h,?i,?j,?k,?l,?m,?n,?o,?p,?q,?r,?s,?t,?u,?v,?w)";
template <bool is_long>
constexpr std::array entry_types{text_type(is_long), "SMALLINT", "SMALLINT", "INTEGER", "INTEGER", "BIGINT", "BIGINT", "INTEGER", "BIGINT",
                                 "INTEGER", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "SMALLINT", digest_type, "INTEGER", "INTEGER",
                                 "INTEGER", "INTEGER", "INTEGER", "BLOB SUB_TYPE BINARY"};

// "+ 0" keeps the index entry_end out of it, where nearly every row has the same value: it would be read to its end for each path.
// from_sequence keeps the version that this recording begins out of it, in whichever order the two are sent.
constexpr std::string_view end_statement =
    "UPDATE entry SET to_sequence = :shared1 - 1 WHERE client = :shared0 AND path = ?a AND OCTET_LENGTH(path) = OCTET_LENGTH(?a) "
    "AND to_sequence + 0 = 9223372036854775807 AND from_sequence < :shared1";
template <bool is_long>
constexpr std::array end_types{text_type(is_long)};

constexpr std::array account_types{"INTEGER", digest_type, "BIGINT", "VARCHAR(255) CHARACTER SET NONE"};
constexpr std::array set_types{"INTEGER", digest_type, "SMALLINT", "VARCHAR(1000) CHARACTER SET NONE"};
constexpr std::array acl_entry_types{"INTEGER", "INTEGER", "SMALLINT", "SMALLINT", "BIGINT", "VARCHAR(255) CHARACTER SET NONE"};
constexpr std::array xattr_types{"INTEGER", "INTEGER", "VARCHAR(255) CHARACTER SET NONE", "VARCHAR(2000) CHARACTER SET NONE", "BLOB SUB_TYPE BINARY"};
constexpr std::array extent_types{"INTEGER", "INTEGER", "BIGINT", "BIGINT"};
constexpr std::array link_target_types{"INTEGER", "VARCHAR(4095) CHARACTER SET NONE"};

}  // namespace

RecordingBatches::RecordingBatches(firebird::Attachment& attachment)
    : short_entries(attachment, {entry_statement, client_and_sequence, entry_types<false>, 80}),
      long_entries(attachment, {entry_statement, client_and_sequence, entry_types<true>, 20}),
      short_ends(attachment, {end_statement, client_and_sequence, end_types<false>, 80}),
      long_ends(attachment, {end_statement, client_and_sequence, end_types<true>, 20}),
      accounts(attachment, {"INSERT INTO account (client,id,digest,number,name) VALUES (:shared0,?a,?b,?c,?d)", client_only, account_types, 20}),
      sets(attachment, {"INSERT INTO attribute_set (client,id,digest,kind,capabilities) VALUES (:shared0,?a,?b,?c,?d)", client_only, set_types, 40}),
      acl_entries(attachment, {"INSERT INTO acl_entry (client,set_id,place,tag,permissions,number,name) VALUES (:shared0,?a,?b,?c,?d,?e,?f)",
                               client_only, acl_entry_types, 80}),
      xattrs(attachment,
             {"INSERT INTO xattr (client,set_id,place,name,value_text,long_value) VALUES (:shared0,?a,?b,?c,?d,?e)", client_only, xattr_types, 20}),
      extents(attachment,
              {"INSERT INTO extent (client,set_id,place,start_byte,length_bytes) VALUES (:shared0,?a,?b,?c,?d)", client_only, extent_types, 80}),
      link_targets(attachment, {"INSERT INTO link_target (client,set_id,target) VALUES (:shared0,?a,?b)", client_only, link_target_types, 14}) {}

void hold_client(firebird::Transaction& transaction, std::int64_t client) {
  firebird::Statement hold(transaction, "UPDATE client SET last_set = last_set WHERE id = ?");
  hold.set(0, client);
  hold.execute(transaction);
}

Catalog::Recording::State::State(firebird::Attachment& attachment, RecordingBatches& batches, bool& in_use, std::string client_name,
                                 std::int64_t client, std::int64_t last_account, std::int64_t last_set, std::uint64_t sequence, std::uint64_t after)
    : attachment_(attachment), batches_(batches), in_use_(in_use), client_name_(std::move(client_name)), client_(client), last_account_(last_account),
      last_set_(last_set), sequence_(static_cast<std::int64_t>(sequence)), transaction_(attachment, firebird::Isolation::write),
      accounts_("account", client, last_account), sets_("attribute_set", client, last_set) {
  hold_client(transaction_, client_);
  firebird::Statement newest(transaction_, "SELECT (SELECT MAX(sequence_number) FROM dataset WHERE client = c.id) FROM client c WHERE c.id = ?");
  newest.set(0, client_);
  newest.open(transaction_);
  if (!newest.fetch() || (newest.is_null(0) ? 0 : newest.integer(0)) != static_cast<std::int64_t>(after))
    throw Error(ExitStatus::unavailable, attachment.subject() + ": what it holds of " + client_name_ + " has changed meanwhile", "the next run brings it in line");
  newest.close();
  const std::array shared{client_, sequence_};
  for (Batch* batch : {&batches_.short_entries, &batches_.long_entries, &batches_.short_ends, &batches_.long_ends})
    batch->begin(transaction_, shared);
  for (Batch* batch : {&batches_.accounts, &batches_.sets, &batches_.acl_entries, &batches_.xattrs, &batches_.extents, &batches_.link_targets})
    batch->begin(transaction_, std::span(shared).first(1));
  pending_.reserve(most_pending);
  in_use_ = true;
}

Catalog::Recording::State::~State() { in_use_ = false; }

void Catalog::Recording::State::end_version(std::string_view path) {
  const bool was_broken = std::exchange(broken_, true);
  const StoredPath stored = stored_path(path);
  (stored.column.size() <= RecordingBatches::short_path_bytes ? batches_.short_ends : batches_.long_ends).put(stored.column);
  broken_ = was_broken;
}

void Catalog::Recording::State::begin_version(const Entry& entry) {
  const bool was_broken = std::exchange(broken_, true);
  pending_.push_back(entry);
  pending_bytes_ += entry.path.size() + entry.details.extents.size() * sizeof(Extent) +
                    (entry.details.access_acl.size() + entry.details.default_acl.size()) * sizeof(AclEntry);
  for (const Xattr& xattr : entry.details.xattrs) pending_bytes_ += xattr.name.size() + xattr.value.size();
  if (pending_.size() == most_pending || pending_bytes_ >= most_pending_bytes) write_pending();
  broken_ = was_broken;
}

Catalog::Recording::State::Shared Catalog::Recording::State::shared_of(const Entry& entry) {
  return {account_digest(entry.stat.uid, entry.details.owner), account_digest(entry.stat.gid, entry.details.group),
          acl_digest(entry.details.access_acl), acl_digest(entry.details.default_acl), xattrs_digest(entry.details.xattrs),
          extents_digest(entry.details), link_target_digest(entry)};
}

void Catalog::Recording::State::write_pending() {
  std::vector<Shared> shared;
  std::vector<Digest> accounts, sets;
  for (const Entry& entry : pending_) {
    const Shared& of_this = shared.emplace_back(shared_of(entry));
    accounts.push_back(of_this.owner);
    accounts.push_back(of_this.group);
    for (const auto& digest : {of_this.access_acl, of_this.default_acl, of_this.xattrs, of_this.extents, of_this.link_target})
      if (digest) sets.push_back(*digest);
  }
  if (accounts_.is_full()) batches_.accounts.flush();
  if (sets_.is_full()) batches_.sets.flush();
  accounts_.look_up(transaction_, accounts);
  sets_.look_up(transaction_, sets);
  for (std::size_t i = 0; i < pending_.size(); ++i) write(pending_[i], shared[i]);
  pending_.clear();
  pending_bytes_ = 0;
}

std::int64_t Catalog::Recording::State::account_id(const Digest& digest, std::uint32_t number, std::string_view name) {
  const Interning::Found found = accounts_.id_of(digest);
  if (found.is_new) batches_.accounts.put(found.id).put(as_bytes(digest)).put(std::int64_t{number}).put(name);
  return found.id;
}

template <typename WriteRows>
std::optional<std::int64_t> Catalog::Recording::State::set_id(const std::optional<Digest>& digest, std::int64_t kind,
                                                              std::optional<std::string_view> capabilities, WriteRows write_rows) {
  if (!digest) return std::nullopt;
  const Interning::Found found = sets_.id_of(*digest);
  if (found.is_new) {
    batches_.sets.put(found.id).put(as_bytes(*digest)).put(kind).put_optional(capabilities);
    write_rows(found.id);
  }
  return found.id;
}

void Catalog::Recording::State::write(const Entry& entry, const Shared& shared) {
  const Stat& stat = entry.stat;
  const Details& details = entry.details;
  auto acl_rows = [&](const std::vector<AclEntry>& acl) {
    return [&](std::int64_t set) {
      std::int64_t place = 0;
      for (const AclEntry& item : acl) {
        batches_.acl_entries.put(set).put(place++).put(static_cast<std::int64_t>(item.tag)).put(std::int64_t{item.permissions});
        if (item.tag == AclTag::user || item.tag == AclTag::group) {
          batches_.acl_entries.put(std::int64_t{item.id}).put(item.name);
        } else {
          batches_.acl_entries.put_null().put_null();
        }
      }
    };
  };
  auto xattr_rows = [&](std::int64_t set) {
    std::int64_t place = 0;
    for (const Xattr& xattr : details.xattrs) {
      batches_.xattrs.put(set).put(place++).put(xattr.name);
      if (xattr.value.size() <= schema::value_bytes) {
        batches_.xattrs.put(xattr.value).put_null();
      } else {
        batches_.xattrs.put_null().put_blob(xattr.value);
      }
    }
  };
  auto extent_rows = [&](std::int64_t set) {
    std::int64_t place = 0;
    for (const Extent& extent : details.extents)
      batches_.extents.put(set).put(place++).put(bits_of(extent.offset)).put(bits_of(extent.length));
  };

  const std::int64_t owner = account_id(shared.owner, stat.uid, details.owner), group = account_id(shared.group, stat.gid, details.group);
  const auto acl_kind = static_cast<std::int64_t>(schema::SetKind::acl);
  const auto access_acl = set_id(shared.access_acl, acl_kind, std::nullopt, acl_rows(details.access_acl));
  const auto default_acl = set_id(shared.default_acl, acl_kind, std::nullopt, acl_rows(details.default_acl));
  const auto capabilities = capabilities_of(details.xattrs);
  const auto xattrs = set_id(shared.xattrs, static_cast<std::int64_t>(schema::SetKind::xattrs), capabilities, xattr_rows);
  const auto extents = set_id(shared.extents, static_cast<std::int64_t>(schema::SetKind::extents), std::nullopt, extent_rows);
  const auto link_target = set_id(shared.link_target, static_cast<std::int64_t>(schema::SetKind::link_target), std::nullopt,
                                  [&](std::int64_t set) { batches_.link_targets.put(set).put(details.link_target); });

  const StoredPath path = stored_path(entry.path);
  Batch& row = path.column.size() <= RecordingBatches::short_path_bytes ? batches_.short_entries : batches_.long_entries;
  row.put(path.column).put(static_cast<std::int64_t>(stat.type)).put(std::int64_t{stat.mode}).put(owner).put(group).put(bits_of(stat.size));
  row.put(stat.mtime.seconds).put(std::int64_t{stat.mtime.nanoseconds}).put(stat.ctime.seconds).put(std::int64_t{stat.ctime.nanoseconds});
  row.put(bits_of(stat.inode)).put(bits_of(stat.filesystem)).put(bits_of(stat.links));
  if (stat.type == FileType::block_device || stat.type == FileType::character_device) {
    row.put(std::int64_t{stat.device_major}).put(std::int64_t{stat.device_minor});
  } else {
    row.put_null().put_null();
  }
  row.put(std::int64_t{entry.flags});
  if (entry.digest) {
    row.put(as_bytes(*entry.digest));
  } else {
    row.put_null();
  }
  row.put_optional(link_target).put_optional(access_acl).put_optional(default_acl).put_optional(xattrs).put_optional(extents);
  if (path.is_cut()) {
    row.put_blob(path.whole);
  } else {
    row.put_null();
  }
}

void Catalog::Recording::State::flush_all() {
  write_pending();
  for (Batch* batch : {&batches_.accounts, &batches_.sets, &batches_.acl_entries, &batches_.xattrs, &batches_.extents, &batches_.link_targets,
                       &batches_.short_ends, &batches_.long_ends, &batches_.short_entries, &batches_.long_entries})
    batch->flush();
}

void Catalog::Recording::State::commit(const DatasetInfo& info) {
  if (broken_) throw Error(ExitStatus::internal, "a recording of " + client_name_ + " goes on after a failure", "report this as a defect");
  if (info.client != client_name_ || static_cast<std::int64_t>(info.sequence) != sequence_)
    throw Error(ExitStatus::internal, "a recording of " + client_name_ + " ends as that of another dataset", "report this as a defect");
  broken_ = true;
  flush_all();
  if (accounts_.last_id() != last_account_ || sets_.last_id() != last_set_) {
    firebird::Statement update(transaction_, "UPDATE client SET last_account = ?, last_set = ? WHERE id = ?");
    update.set(0, accounts_.last_id());
    update.set(1, sets_.last_id());
    update.set(2, client_);
    update.execute(transaction_);
  }
  firebird::Statement insert(
      transaction_,
      "INSERT INTO dataset (client,sequence_number,tier,name,label,started,started_ns,finished,finished_ns,completeness,acl,entries,"
      "files,bytes,new_files,new_bytes,problems) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  unsigned at = 0;
  insert.set(at++, client_);
  insert.set(at++, sequence_);
  insert.set(at++, static_cast<std::int64_t>(info.tier));
  insert.set(at++, info.name);
  insert.set(at++, std::string(name_of(info.tier)) + "/" + info.name);
  for (const Timestamp& time : {info.started, info.finished}) {
    insert.set(at++, time.seconds);
    insert.set(at++, std::int64_t{time.nanoseconds});
  }
  insert.set(at++, static_cast<std::int64_t>(info.completeness));
  insert.set(at++, std::int64_t{info.acl});
  for (std::uint64_t count : {info.entries, info.files, info.bytes, info.new_files, info.new_bytes, info.problems}) insert.set(at++, bits_of(count));
  insert.execute(transaction_);
  transaction_.commit();
}

Catalog::Recording::Recording(std::unique_ptr<State> state) : state_(std::move(state)) {}
Catalog::Recording::Recording(Recording&&) noexcept = default;
Catalog::Recording::~Recording() = default;

void Catalog::Recording::end_version(std::string_view path) { state_->end_version(path); }
void Catalog::Recording::begin_version(const Entry& entry) { state_->begin_version(entry); }
void Catalog::Recording::commit(const DatasetInfo& final_info) { state_->commit(final_info); }

}  // namespace syncropy

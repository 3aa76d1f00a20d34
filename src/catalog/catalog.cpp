#include "catalog/catalog.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <optional>
#include <thread>

#include "catalog/batch.hpp"
#include "catalog/access.hpp"
#include "catalog/crash-guard.hpp"
#include "catalog/engine.hpp"
#include "catalog/recording.hpp"
#include "catalog/schema.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

using firebird::Attachment;
using firebird::Isolation;
using firebird::Statement;
using firebird::Transaction;

// On a server another program may make the same database, or its schema, at this moment: then look again. Embedded, lock_opening() sees to it.
constexpr auto race_patience = std::chrono::seconds(30);

Attachment attach_or_create(const firebird::Access& access) {
  try {
    return Attachment::attach(access);
  } catch (const firebird::DatabaseError& error) {
    if (!error.no_file() || access.embedded) throw;
  }
  return Attachment::create(access, true);
}

// An embedded one gets its name when it is whole, its schema included: who is killed while making it leaves a damaged one, for the definition of
// tables is not undone as rows are.
void make_if_missing(const CatalogLocation& location) {
  if (::access(location.database.c_str(), F_OK) == 0 || errno != ENOENT) return;
  CatalogLocation draft = location;
  draft.database += ".new";
  ::unlink(draft.database.c_str());
  try {
    upgrade_schema(Attachment::create(catalog_access(draft), false), Catalog::schema_version);  // crash-guard.hpp says why nothing is forced
    if (::rename(draft.database.c_str(), location.database.c_str()) != 0) throw_errno(ExitStatus::repository, "put the new catalog at", location.database);
  } catch (...) {
    ::unlink(draft.database.c_str());
    throw;
  }
}

Attachment open_current(const firebird::Access& access) {
  const auto give_up = std::chrono::steady_clock::now() + race_patience;
  for (;;) {
    try {
      Attachment attachment = attach_or_create(access);
      if (check_schema(attachment, Catalog::schema_version) < Catalog::schema_version) upgrade_schema(attachment, Catalog::schema_version);
      return attachment;
    } catch (const firebird::DatabaseError& error) {
      if (!error.raced() || std::chrono::steady_clock::now() > give_up) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

std::int64_t to_signed(std::uint64_t sequence) {
  if (sequence == 0 || sequence >= static_cast<std::uint64_t>(schema::open_end))
    throw Error(ExitStatus::internal, "a dataset has sequence " + std::to_string(sequence));
  return static_cast<std::int64_t>(sequence);
}

struct ClientRow {
  std::int64_t id = 0, last_account = 0, last_set = 0;
};

// id 0: not there.
ClientRow find_client(Transaction& transaction, std::string_view name) {
  Statement query(transaction, "SELECT id, last_account, last_set FROM client WHERE name = ?");
  query.set(0, name);
  query.open(transaction);
  if (!query.fetch()) return {};
  return {query.integer(0), query.integer(1), query.integer(2)};
}

// Sets that entries which are about to go refer to, by the kind that their column says.
using SetIds = std::map<std::int64_t, schema::SetKind>;

constexpr std::array<schema::SetKind, 5> set_columns{schema::SetKind::link_target, schema::SetKind::acl, schema::SetKind::acl,
                                                     schema::SetKind::xattrs, schema::SetKind::extents};
constexpr const char* select_sets =
    "SELECT link_target, access_acl, default_acl, xattrs, extents FROM entry WHERE client = ? AND COALESCE(link_target, access_acl, "
    "default_acl, xattrs, extents) IS NOT NULL";

SetIds sets_of(Transaction& transaction, const std::string& condition, std::initializer_list<std::int64_t> values) {
  SetIds sets;
  Statement query(transaction, select_sets + condition);
  unsigned at = 0;
  for (std::int64_t value : values) query.set(at++, value);
  query.open(transaction);
  while (query.fetch())
    for (unsigned column = 0; column < set_columns.size(); ++column)
      if (!query.is_null(column)) sets.emplace(query.integer(column), set_columns[column]);
  return sets;
}

// What was the same before and after the dataset that goes, and another or not there within it, is one version now: as it would be had that
// dataset never been. A version that ended between `before` and `after`, and one that began there.
//
// Measured: 10,000 versions that ended add 0.1 s to expiring a dataset of a client with 200,000 entries; networked on loopback the same.
constexpr const char* join_versions = R"(EXECUTE BLOCK (client INTEGER = ?, before BIGINT = ?, after BIGINT = ?) AS
  DECLARE earlier CHAR(8) CHARACTER SET OCTETS;
  DECLARE later CHAR(8) CHARACTER SET OCTETS;
  DECLARE ends BIGINT;
  BEGIN
    FOR SELECT e.rdb$db_key, l.rdb$db_key, l.to_sequence
      FROM entry e JOIN entry l ON l.client = e.client AND l.path = e.path AND OCTET_LENGTH(l.path) = OCTET_LENGTH(e.path)
      WHERE e.client = :client AND e.to_sequence >= :before AND e.to_sequence < :after AND l.from_sequence > :before AND l.from_sequence <= :after
        AND l.kind = e.kind AND l.mode = e.mode AND l.owner_account = e.owner_account AND l.group_account = e.group_account
        AND l.size_bytes = e.size_bytes AND l.mtime = e.mtime AND l.mtime_ns = e.mtime_ns AND l.ctime = e.ctime AND l.ctime_ns = e.ctime_ns
        AND l.inode = e.inode AND l.filesystem = e.filesystem AND l.links = e.links AND l.device_major IS NOT DISTINCT FROM e.device_major
        AND l.device_minor IS NOT DISTINCT FROM e.device_minor AND l.flags / 2 = e.flags / 2 AND l.digest IS NOT DISTINCT FROM e.digest
        AND l.link_target IS NOT DISTINCT FROM e.link_target AND l.access_acl IS NOT DISTINCT FROM e.access_acl
        AND l.default_acl IS NOT DISTINCT FROM e.default_acl AND l.xattrs IS NOT DISTINCT FROM e.xattrs AND l.extents IS NOT DISTINCT FROM e.extents
      INTO :earlier, :later, :ends
    DO BEGIN
      DELETE FROM entry WHERE rdb$db_key = :later;
      UPDATE entry SET to_sequence = :ends WHERE rdb$db_key = :earlier;
    END
  END)";

// Deletes those of `sets` that no entry of the client refers to. Reads entries only where there are any, and until each of them has been met:
// with extended attributes on every file (SELinux) that is soon, for the attributes are few.
//
// Measured: a client of 200,000 entries, expiring a dataset of which 1,000 were changed later takes 46 ms where none has attributes, 51 ms
// where all have and each set is still in use, 0.29 s where one set is left over: its entries are read once. Networked on loopback the same.
void delete_unused_sets(Attachment& attachment, Transaction& transaction, std::int64_t client, SetIds sets) {
  if (sets.empty()) return;
  {
    Statement entries(transaction, select_sets);
    entries.set(0, client);
    entries.open(transaction);
    while (!sets.empty() && entries.fetch())
      for (unsigned column = 0; column < set_columns.size(); ++column)
        if (!entries.is_null(column)) sets.erase(entries.integer(column));
  }
  static constexpr std::array client_only{"INTEGER"}, id_only{"INTEGER"};
  const std::array<std::int64_t, 1> shared{client};
  auto remove = [&](std::string_view statement, std::optional<schema::SetKind> kind) {
    Batch batch(attachment, {statement, client_only, id_only, 80});
    batch.begin(transaction, shared);
    for (const auto& [id, of_kind] : sets)
      if (!kind || *kind == of_kind) batch.put(id);
    batch.flush();
  };
  if (sets.empty()) return;
  remove("DELETE FROM acl_entry WHERE client = :shared0 AND set_id = ?a", schema::SetKind::acl);
  remove("DELETE FROM xattr WHERE client = :shared0 AND set_id = ?a", schema::SetKind::xattrs);
  remove("DELETE FROM extent WHERE client = :shared0 AND set_id = ?a", schema::SetKind::extents);
  remove("DELETE FROM link_target WHERE client = :shared0 AND set_id = ?a", schema::SetKind::link_target);
  remove("DELETE FROM attribute_set WHERE client = :shared0 AND id = ?a", std::nullopt);
}

// The index by which expiring finds versions is made when the first dataset expires: it takes a quarter of the time of a first recording, and
// 0.1 s when it is made of 200,000 rows. It cannot be made while others write to the table; then the client's rows are read through this
// once, and the next expiring tries again.
void make_end_index(Attachment& attachment) {
  {
    Transaction transaction(attachment, Isolation::read);
    Statement query(transaction, "SELECT 1 FROM rdb$indices WHERE rdb$index_name = 'ENTRY_END'");
    query.open(transaction);
    if (query.fetch()) return;
  }
  try {
    Transaction transaction(attachment, Isolation::write_at_once);
    transaction.execute("CREATE INDEX entry_end ON entry (client, to_sequence)");
    transaction.commit();
  } catch (const Error&) {
    // Whatever else is wrong with the database, the statements that follow tell.
  }
}

}  // namespace

firebird::Access catalog_access(const CatalogLocation& location) {
  firebird::Access access;
  access.user = location.user;
  if (location.host.empty()) {
    if (!location.database.starts_with('/'))
      throw Error(ExitStatus::internal, "the embedded catalog " + escape(location.database) + " is not an absolute path");
    access.embedded = true;
    access.address = location.database;
    access.subject = "catalog " + escape(location.database);
  } else {
    // RFC 6761: localhost is loopback whatever the resolver says; the client library would ask it, and a bare machine has no /etc/hosts.
    const std::string host = location.host == "localhost" ? "127.0.0.1" : location.host;
    const bool is_ipv6 = host.find(':') != std::string::npos;
    const std::string server = (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(location.port);
    access.address = "inet://" + server + "/" + location.database;
    access.password = location.password;
    access.subject = "catalog " + escape(location.database) + " at " + escape(server);
  }
  return access;
}

struct Catalog::State {
  explicit State(Attachment opened, std::unique_ptr<CrashGuard> held = nullptr)
      : guard(std::move(held)), attachment(std::move(opened)), batches(attachment) {}
  std::unique_ptr<CrashGuard> guard;  // until after the attachment
  Attachment attachment;
  RecordingBatches batches;
  bool recording = false;
};

Catalog::Catalog(std::unique_ptr<State> state) : state_(std::move(state)) {}
Catalog::Catalog(Catalog&&) noexcept = default;
Catalog::~Catalog() = default;

Catalog Catalog::open_unguarded(const CatalogLocation& location) {
  return Catalog(std::make_unique<State>(open_current(catalog_access(location))));
}

bool Catalog::was_unsafe() const { return state_->guard && state_->guard->was_unsafe(); }

Catalog::Catalog(const CatalogLocation& location) {
  Fd lock;
  std::unique_ptr<CrashGuard> guard;
  if (location.host.empty()) {
    use_engine_folder(location.engine_folder);
    lock = lock_opening(location.engine_folder, true);
    remove_leftovers(location.engine_folder);
    expect_room(location.engine_folder);
    guard = std::make_unique<CrashGuard>(location.database, boot_id());
    make_if_missing(location);
  }
  state_ = std::make_unique<State>(open_current(catalog_access(location)), std::move(guard));
  if (location.host.empty()) {
    hold_room(location.engine_folder);
    return_engine_files(location.engine_folder, location.database);
  }
}

Catalog Catalog::open_existing(const CatalogLocation& location) {
  const firebird::Access access = catalog_access(location);
  Fd lock;
  if (location.host.empty()) {
    if (::access(location.database.c_str(), F_OK) != 0)
      throw_errno(ExitStatus::no_input, "open the catalog", location.database, "a backup run makes it");
    if (CrashGuard::is_unsafe(location.database, boot_id()))
      throw Error(ExitStatus::no_input, access.subject + ": it was being written when the machine stopped, and is not believed",
                  "a backup run makes it anew, or 'syncropy rebuild-catalog'");
    use_engine_folder(location.engine_folder);
    lock = lock_opening(location.engine_folder, false);
    expect_room(location.engine_folder);
  }
  auto state = std::make_unique<State>(Attachment::attach(access));
  if (check_schema(state->attachment, schema_version) < schema_version)
    throw Error(ExitStatus::no_input, access.subject + ": the database holds no catalog yet, or one of an older version",
                "a backup run makes or upgrades it");
  if (location.host.empty()) {
    hold_room(location.engine_folder);
    return_engine_files(location.engine_folder, location.database);
  }
  return Catalog(std::move(state));
}

std::vector<RecordedDataset> Catalog::datasets(std::string_view client) {
  Transaction transaction(state_->attachment, Isolation::read);
  return datasets_in(transaction, client);
}

std::vector<RecordedDataset> datasets_in(Transaction& transaction, std::string_view client) {
  Statement query(
      transaction,
      std::string("SELECT c.name, d.tier, d.name, d.sequence_number, d.started, d.started_ns, d.finished, d.finished_ns, d.completeness, d.acl, "
                  "d.entries, d.files, d.bytes, d.new_files, d.new_bytes, d.problems FROM dataset d JOIN client c ON c.id = d.client ") +
          (client.empty() ? "" : "WHERE c.name = ? ") + "ORDER BY c.name, d.sequence_number");
  if (!client.empty()) {
    if (!is_client_name(client)) return {};
    query.set(0, client);
  }
  std::vector<RecordedDataset> all;
  query.open(transaction);
  while (query.fetch()) {
    DatasetInfo info;
    auto count = [&](unsigned column) { return static_cast<std::uint64_t>(query.integer(column)); };
    info.client = query.text(transaction, 0);
    info.tier = static_cast<Tier>(query.integer(1));
    info.name = query.text(transaction, 2);
    info.sequence = count(3);
    info.started = {query.integer(4), static_cast<std::uint32_t>(query.integer(5))};
    info.finished = {query.integer(6), static_cast<std::uint32_t>(query.integer(7))};
    info.completeness = static_cast<Completeness>(query.integer(8));
    info.acl = query.integer(9) != 0;
    info.entries = count(10), info.files = count(11), info.bytes = count(12);
    info.new_files = count(13), info.new_bytes = count(14), info.problems = count(15);
    if (info.tier < Tier::hour || info.tier > Tier::month || !is_dataset_name(info.name))
      throw Error(ExitStatus::data, transaction.attachment().subject() + ": a dataset has an unknown tier or name",
                  "make the catalog anew with 'syncropy rebuild-catalog'");
    all.push_back({std::move(info)});
  }
  return all;
}

Catalog::Recording Catalog::record(std::string_view client, std::uint64_t sequence, std::uint64_t after) {
  const std::int64_t number = to_signed(sequence);
  if (!is_client_name(client)) throw Error(ExitStatus::internal, "recording a client of the name " + escape(client));
  if (state_->recording) throw Error(ExitStatus::internal, "a second recording on one catalog");
  ClientRow row;
  {
    Transaction transaction(state_->attachment, Isolation::write);
    row = find_client(transaction, client);
    if (row.id == 0) {
      Statement insert(transaction, "INSERT INTO client (id, name) VALUES (NEXT VALUE FOR client_ids, ?)");
      insert.set(0, client);
      insert.execute(transaction);
      row = find_client(transaction, client);
    }
    Statement newest(transaction, "SELECT FIRST 1 sequence_number FROM dataset WHERE client = ? AND sequence_number >= ?");
    newest.set(0, row.id);
    newest.set(1, number);
    newest.open(transaction);
    if (newest.fetch())
      throw Error(ExitStatus::internal, "dataset " + std::to_string(sequence) + " of " + escape(client) + " is recorded after a newer one, or twice");
    transaction.commit();
  }
  return Recording(std::make_unique<Recording::State>(state_->attachment, state_->batches, state_->recording, std::string(client), row.id,
                                                      row.last_account, row.last_set, sequence, after));
}

void Catalog::expire(std::string_view client, std::uint64_t sequence) {
  if (!is_client_name(client)) return;
  const std::int64_t number = to_signed(sequence);
  make_end_index(state_->attachment);
  Transaction transaction(state_->attachment, Isolation::write);
  const std::int64_t id = find_client(transaction, client).id;
  auto run = [&](const std::string& sql, std::initializer_list<std::int64_t> values) {
    Statement statement(transaction, sql);
    unsigned at = 0;
    for (std::int64_t value : values) statement.set(at++, value);
    statement.execute(transaction);
  };
  Statement neighbours(transaction,
                       "SELECT (SELECT MAX(sequence_number) FROM dataset WHERE client = d.client AND sequence_number < d.sequence_number), "
                       "(SELECT MIN(sequence_number) FROM dataset WHERE client = d.client AND sequence_number > d.sequence_number) "
                       "FROM dataset d WHERE d.client = ? AND d.sequence_number = ?");
  neighbours.set(0, id);
  neighbours.set(1, number);
  neighbours.open(transaction);
  if (!neighbours.fetch()) return;
  const std::int64_t before = neighbours.is_null(0) ? 0 : neighbours.integer(0), after = neighbours.is_null(1) ? 0 : neighbours.integer(1);
  neighbours.close();
  run("DELETE FROM dataset WHERE client = ? AND sequence_number = ?", {id, number});
  SetIds sets;
  auto remove_entries = [&](const std::string& condition, std::initializer_list<std::int64_t> values) {
    sets = sets_of(transaction, condition, values);
    run("DELETE FROM entry WHERE client = ?" + condition, values);
  };
  if (after != 0) {
    // Versions are looked for by their end (entry_end): those still valid are not touched.
    remove_entries(" AND to_sequence > ? AND to_sequence < ? AND from_sequence > ?", {id, before, after, before});
    if (before != 0) run(join_versions, {id, before, after});
  } else {
    // The newest goes. What it ended is valid again, for the next recording starts from the one before.
    remove_entries(" AND from_sequence > ?", {id, before});
    if (before != 0)
      run("UPDATE entry SET to_sequence = 9223372036854775807 WHERE client = ? AND to_sequence >= ? AND to_sequence < 9223372036854775807",
          {id, before});
  }
  delete_unused_sets(state_->attachment, transaction, id, std::move(sets));
  transaction.commit();
}

void Catalog::forget(std::string_view client) {
  if (!is_client_name(client)) return;
  Transaction transaction(state_->attachment, Isolation::write);
  const std::int64_t id = find_client(transaction, client).id;
  if (id == 0) return;
  hold_client(transaction, id);
  for (const char* table : {"entry", "dataset", "account", "acl_entry", "xattr", "extent", "link_target", "attribute_set"}) {
    Statement remove(transaction, std::string("DELETE FROM ") + table + " WHERE client = ?");
    remove.set(0, id);
    remove.execute(transaction);
  }
  Statement remove(transaction, "DELETE FROM client WHERE id = ?");
  remove.set(0, id);
  remove.execute(transaction);
  transaction.commit();
}

Catalog::Table Catalog::query(const std::string& sql, std::size_t most) {
  constexpr const char* remedy = "ask with one SELECT statement over the views DATASETS, FILES, FILE_HISTORY, ACLS, XATTRS";
  Transaction transaction(state_->attachment, Isolation::read);
  try {
    Statement query(transaction, sql, Statement::Output::text);
    if (!query.has_cursor()) throw Error(ExitStatus::usage, state_->attachment.subject() + ": the statement is no query", remedy);
    Table table;
    for (unsigned i = 0; i < query.columns(); ++i) table.columns.push_back(query.column_name(i));
    query.open(transaction);
    while (table.rows.size() < most && query.fetch()) {
      auto& row = table.rows.emplace_back();
      for (unsigned i = 0; i < query.columns(); ++i) row.push_back(query.text(transaction, i));
    }
    return table;
  } catch (const Error& error) {
    // The statement is the asker's, and so is what Firebird does not understand of it.
    if (error.status() != ExitStatus::internal) throw;
    throw Error(ExitStatus::usage, error.what(), remedy);
  }
}

}  // namespace syncropy

#include "catalog/catalog.hpp"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>

#include "catalog/access.hpp"
#include "catalog/crash-guard.hpp"
#include "catalog/engine.hpp"
#include "catalog/recording.hpp"
#include "catalog/schema.hpp"
#include "catalog/trim.hpp"
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

// `guard`: of an embedded database that is in use.
Attachment open_current(const firebird::Access& access, CrashGuard* guard = nullptr) {
  const auto give_up = std::chrono::steady_clock::now() + race_patience;
  for (;;) {
    try {
      Attachment attachment = attach_or_create(access);
      if (check_schema(attachment, Catalog::schema_version) < Catalog::schema_version) {
        if (guard != nullptr) guard->begin_upgrade();
        upgrade_schema(attachment, Catalog::schema_version);
        if (guard != nullptr) guard->end_upgrade();
      }
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
  Attachment attachment = open_current(catalog_access(location), guard.get());
  state_ = std::make_unique<State>(std::move(attachment), std::move(guard));
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
    use_engine_folder(location.engine_folder);
    lock = lock_opening(location.engine_folder, false);
    if (CrashGuard::is_unsafe(location.database, boot_id()))
      throw Error(ExitStatus::no_input, access.subject + ": it was being written when the machine stopped, or upgraded when the program did, and is not believed",
                  "a backup run makes it anew, or 'syncropy rebuild-catalog'");
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
    Statement newer(transaction, "SELECT FIRST 1 sequence_number FROM dataset WHERE client = ? AND sequence_number >= ?");
    newer.set(0, row.id);
    newer.set(1, number);
    newer.open(transaction);
    if (newer.fetch())
      throw Error(ExitStatus::internal, "dataset " + std::to_string(sequence) + " of " + escape(client) + " is recorded after a newer one, or twice");
    transaction.commit();
  }
  if (newest_is_removed(state_->attachment, row.id)) trim_versions(state_->attachment, row.id);
  return Recording(std::make_unique<Recording::State>(state_->attachment, state_->batches, state_->recording, std::string(client), row.id,
                                                      row.last_account, row.last_set, sequence, after));
}

void Catalog::remove(std::string_view client, std::uint64_t sequence) {
  if (!is_client_name(client)) return;
  const std::int64_t number = to_signed(sequence);
  Transaction transaction(state_->attachment, Isolation::write);
  const std::int64_t id = find_client(transaction, client).id;
  for (const char* sql : {"INSERT INTO removed_dataset (client, sequence_number) SELECT client, sequence_number FROM dataset WHERE client = ? AND sequence_number = ?",
                          "DELETE FROM dataset WHERE client = ? AND sequence_number = ?"}) {
    Statement statement(transaction, sql);
    statement.set(0, id);
    statement.set(1, number);
    statement.execute(transaction);
  }
  transaction.commit();
}

void Catalog::trim(std::string_view client) {
  if (!is_client_name(client)) return;
  std::int64_t id = 0;
  {
    Transaction transaction(state_->attachment, Isolation::read);
    id = find_client(transaction, client).id;
  }
  if (id != 0) trim_versions(state_->attachment, id);
}

void Catalog::forget(std::string_view client) {
  if (!is_client_name(client)) return;
  Transaction transaction(state_->attachment, Isolation::write);
  const std::int64_t id = find_client(transaction, client).id;
  if (id == 0) return;
  hold_client(transaction, id);
  for (const char* table : {"entry", "dataset", "removed_dataset", "account", "acl_entry", "xattr", "extent", "link_target", "attribute_set"}) {
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

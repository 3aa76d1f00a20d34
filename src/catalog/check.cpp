#include "catalog/check.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <ctime>
#include <optional>
#include <set>

#include "catalog/access.hpp"
#include "catalog/columns.hpp"
#include "catalog/engine.hpp"
#include "catalog/schema.hpp"
#include "catalog/service.hpp"
#include "model/limits.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

using firebird::Attachment;
using firebird::Isolation;
using firebird::Statement;
using firebird::Transaction;

constexpr std::uint64_t told_rows = 10'000;
constexpr const char* remedy = "make the catalog anew with 'syncropy rebuild-catalog'; on a server, drop the database before if that fails";

// What Firebird says for want of a better word is said of the database; so is a page number beyond the end of the file, which it calls an I/O
// error without one of the system.
template <typename Call>
auto blaming_the_database(Call call) {
  try {
    return call();
  } catch (const firebird::DatabaseError& error) {
    const bool of_system = error.status() == ExitStatus::io && error.system_code() != 0;
    if (of_system || (error.status() != ExitStatus::internal && error.status() != ExitStatus::io)) throw;
    throw Error(ExitStatus::data, error.what(), remedy);
  }
}

std::optional<std::int64_t> optional_integer(const Statement& statement, unsigned column) {
  if (statement.is_null(column)) return std::nullopt;
  return statement.integer(column);
}

constexpr const char* reference_name = "reference-";  // and the process, and .fdb
constexpr std::time_t reference_seconds = 3'600;      // one is needed for less than one of them

// Is there such a process? One in another namespace that is not seen from here still has open what is taken from it.
bool is_alive(std::string_view number) {
  pid_t process = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), process);
  return error == std::errc() && process > 0 && (::kill(process, 0) == 0 || errno != ESRCH);
}

// Of those that were killed. Another process may have got the number of one meanwhile.
void remove_left_references(const std::string& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return;
  struct stat st{};
  for (const std::string& name : names_in(fd.get()))
    if (name.starts_with(reference_name) && ::fstatat(fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        (!is_alive(std::string_view(name).substr(std::strlen(reference_name))) || st.st_mtime + reference_seconds < std::time(nullptr)))
      ::unlinkat(fd.get(), name.c_str(), 0);
}

struct Index {
  const char *name, *table;
  std::vector<const char*> columns;  // that a look-up by it names; the last ones may be no part of it, and tell its rows apart
  std::size_t of_index;              // how many are part of it
};
const std::vector<Index>& row_indexes() {
  static const std::vector<Index> all{
      {"client_key", "client", {"id", "name"}, 1},
      {"client_name", "client", {"name", "id"}, 1},
      {"dataset_key", "dataset", {"client", "sequence_number", "label"}, 2},
      {"dataset_label", "dataset", {"client", "label", "sequence_number"}, 2},
      {"removed_dataset_key", "removed_dataset", {"client", "sequence_number"}, 2},
      {"account_key", "account", {"client", "id", "digest"}, 2},
      {"account_digest", "account", {"client", "digest", "id"}, 2},
      {"attribute_set_key", "attribute_set", {"client", "id", "digest"}, 2},
      {"attribute_set_digest", "attribute_set", {"client", "digest", "id"}, 2},
      {"acl_entry_key", "acl_entry", {"client", "set_id", "place"}, 3},
      {"xattr_key", "xattr", {"client", "set_id", "place"}, 3},
      {"extent_key", "extent", {"client", "set_id", "place"}, 3},
      {"link_target_key", "link_target", {"client", "set_id"}, 2},
      {"entry_path", "entry", {"client", "path", "from_sequence"}, 2},
  };
  return all;
}

// Reads what makes up the sets of one kind, set after set.
class SetRows {
 public:
  SetRows(Transaction& transaction, const std::string& columns, const char* table, std::int64_t client)
      : rows_(transaction, "SELECT set_id, " + columns + " FROM " + table + " WHERE client = ? ORDER BY set_id, place") {
    rows_.set(0, client);
    rows_.open(transaction);
    has_ = rows_.fetch();
  }
  // Calls `row` for each row of `set`, which is greater than the one before. False where there are rows of a set in between.
  template <typename Row>
  [[nodiscard]] bool take(std::int64_t set, Row row) {
    bool in_order = true;
    for (; has_ && rows_.integer(0) <= set; has_ = rows_.fetch()) {
      if (rows_.integer(0) == set) row(rows_);
      else in_order = false;
    }
    return in_order;
  }
  [[nodiscard]] bool at_end() const { return !has_; }

 private:
  Statement rows_;
  bool has_;
};

}  // namespace

struct CatalogCheck::State {
  State(const CatalogLocation& where, Events told) : location(where), events(std::move(told)), attachment(Attachment::attach(catalog_access(where))) {}

  [[nodiscard]] Digest account_of(std::int64_t id) const { return shared(accounts, id, "account"); }
  [[nodiscard]] std::optional<Digest> set_of(const Statement& statement, unsigned column) const {
    if (statement.is_null(column)) return std::nullopt;
    return shared(sets, statement.integer(column), "set of attributes");
  }
  using Shared = std::vector<std::pair<std::int64_t, Digest>>;  // by id
  // Of what is not there nothing is equal to what should be.
  static Digest shared(const Shared& all, std::int64_t id, const char*) {
    const auto found = std::lower_bound(all.begin(), all.end(), id, [](const auto& item, std::int64_t wanted) { return item.first < wanted; });
    return found == all.end() || found->first != id ? Digest{} : found->second;
  }
  void saw(std::uint64_t count) {
    rows += count;
    if (rows >= told_rows) events.on_rows(std::exchange(rows, 0));
  }

  void read_accounts(std::int64_t client, const std::string& name);
  void read_sets(std::int64_t client, const std::string& name);
  void add_entry(const Statement& entry, const std::vector<std::uint64_t>& sequences, Fingerprint& fingerprint);
  void check_index(const Index& index);
  void check_ends();
  [[nodiscard]] std::set<std::string> definitions(const Attachment& of);

  const CatalogLocation location;
  const Events events;
  std::optional<Attachment> attachment;
  std::optional<Transaction> transaction;
  Shared accounts, sets;
  std::uint64_t rows = 0;
};

CatalogCheck::CatalogCheck(const CatalogLocation& location, Events events) {
  blaming_the_database([&] {
    static_cast<void>(Catalog::open_existing(location));
    state_ = std::make_unique<State>(location, std::move(events));
  });
}
CatalogCheck::~CatalogCheck() = default;

void CatalogCheck::begin() {
  state_->transaction.reset();
  blaming_the_database([&] { state_->transaction.emplace(*state_->attachment, Isolation::read); });
}

std::vector<RecordedDataset> CatalogCheck::datasets(std::string_view client) {
  return blaming_the_database([&] { return datasets_in(*state_->transaction, client); });
}

void CatalogCheck::State::read_accounts(std::int64_t client, const std::string& name) {
  accounts.clear();
  Statement rows_of(*transaction, "SELECT id, digest, number, name FROM account WHERE client = ? ORDER BY id");
  rows_of.set(0, client);
  rows_of.open(*transaction);
  while (rows_of.fetch()) {
    const Digest digest = account_digest(static_cast<std::uint32_t>(rows_of.integer(2)), rows_of.text(*transaction, 3));
    if (as_bytes(digest) != rows_of.text(*transaction, 1))
      events.on_damage(fmt::format("{}: account {} is not what its digest says", name, rows_of.integer(0)));
    accounts.emplace_back(rows_of.integer(0), digest);
    saw(1);
  }
}

void CatalogCheck::State::read_sets(std::int64_t client, const std::string& name) {
  sets.clear();
  Statement heads(*transaction, "SELECT id, digest, kind, capabilities FROM attribute_set WHERE client = ? ORDER BY id");
  SetRows acls(*transaction, "place, tag, permissions, number, name", "acl_entry", client), xattrs(*transaction, "place, name, value_text, long_value", "xattr", client),
      extents(*transaction, "place, start_byte, length_bytes", "extent", client), targets(*transaction, "0 AS place, target", "link_target", client);
  heads.set(0, client);
  heads.open(*transaction);
  while (heads.fetch()) {
    const std::int64_t id = heads.integer(0);
    std::optional<Digest> digest;
    std::optional<std::string> capabilities;
    bool in_order = true;
    std::int64_t place = 0;
    auto in_place = [&](const Statement& row) {
      in_order = in_order && row.integer(1) == place++;
      saw(1);
    };
    switch (static_cast<schema::SetKind>(heads.integer(2))) {
      case schema::SetKind::acl: {
        std::vector<AclEntry> acl;
        in_order = acls.take(id, [&](const Statement& row) {
          in_place(row);
          acl.push_back({static_cast<AclTag>(row.integer(2)), static_cast<std::uint8_t>(row.integer(3)),
                         row.is_null(4) ? 0 : static_cast<std::uint32_t>(row.integer(4)), row.is_null(5) ? "" : row.text(*transaction, 5)});
        }) && in_order;
        digest = acl_digest(acl);
        break;
      }
      case schema::SetKind::xattrs: {
        std::vector<Xattr> all;
        in_order = xattrs.take(id, [&](const Statement& row) {
          in_place(row);
          all.push_back({row.text(*transaction, 2), row.text(*transaction, row.is_null(3) ? 4 : 3)});
        }) && in_order;
        digest = xattrs_digest(all);
        capabilities = capabilities_of(all);
        break;
      }
      case schema::SetKind::extents: {
        Details details;
        details.sparse = true;
        in_order = extents.take(id, [&](const Statement& row) {
          in_place(row);
          details.extents.push_back({static_cast<std::uint64_t>(row.integer(2)), static_cast<std::uint64_t>(row.integer(3))});
        }) && in_order;
        digest = extents_digest(details);
        break;
      }
      case schema::SetKind::link_target: {
        Entry link;
        link.stat.type = FileType::symlink;
        in_order = targets.take(id, [&](const Statement& row) {
          in_place(row);
          link.details.link_target = row.text(*transaction, 2);
        }) && in_order;
        digest = link_target_digest(link);
        break;
      }
    }
    const bool same_capabilities = capabilities ? !heads.is_null(3) && heads.text(*transaction, 3) == *capabilities : heads.is_null(3);
    if (!digest || !in_order || !same_capabilities || as_bytes(*digest) != heads.text(*transaction, 1))
      events.on_damage(fmt::format("{}: set of attributes {} is not what its digest says", name, id));
    sets.emplace_back(id, digest.value_or(Digest{}));
    saw(1);
  }
  if (!acls.at_end() || !xattrs.at_end() || !extents.at_end() || !targets.at_end()) events.on_damage(name + ": there are attributes of no set");
}

void CatalogCheck::State::add_entry(const Statement& entry, const std::vector<std::uint64_t>& sequences, Fingerprint& fingerprint) {
  RowValues row;
  const std::string column = entry.text(*transaction, 0);
  row.path = entry.is_null(23) ? column : entry.text(*transaction, 23, limits::path_bytes + 1);
  // The column is what people ask for; a row without a path at all is one more that nobody has.
  if (row.path.empty() || stored_path(std::string_view(row.path).substr(1)).column != column) row.path += " is not " + column;
  const std::int64_t from = entry.integer(1), to = entry.integer(2);
  row.kind = entry.integer(3), row.mode = entry.integer(4);
  row.owner = account_of(entry.integer(5)), row.group = account_of(entry.integer(6));
  row.size = entry.integer(7), row.mtime = entry.integer(8), row.mtime_ns = entry.integer(9), row.ctime = entry.integer(10);
  row.ctime_ns = entry.integer(11), row.inode = entry.integer(12), row.filesystem = entry.integer(13), row.links = entry.integer(14);
  row.device_major = optional_integer(entry, 15), row.device_minor = optional_integer(entry, 16);
  row.flags = entry.integer(17);
  if (!entry.is_null(18)) {
    const std::string bytes = entry.text(*transaction, 18);
    row.digest.emplace();
    std::copy_n(bytes.begin(), std::min(bytes.size(), row.digest->size()), row.digest->begin());
  }
  row.link_target = set_of(entry, 19), row.access_acl = set_of(entry, 20), row.default_acl = set_of(entry, 21), row.xattrs = set_of(entry, 22);
  row.extents = set_of(entry, 24);
  const auto first = std::lower_bound(sequences.begin(), sequences.end(), from, [](std::uint64_t sequence, std::int64_t wanted) {
    return static_cast<std::int64_t>(sequence) < wanted;
  });
  const auto after = std::upper_bound(sequences.begin(), sequences.end(), to, [](std::int64_t wanted, std::uint64_t sequence) {
    return wanted < static_cast<std::int64_t>(sequence);
  });
  if (first >= after) return;  // no dataset of these shows it
  const Digest digest = digest_of_row(row);
  fingerprint.begin(digest, *first);
  if (after != sequences.end()) fingerprint.end(digest, *after);
}

Fingerprint CatalogCheck::read(std::string_view client, const std::vector<std::uint64_t>& sequences) {
  return blaming_the_database([&] {
    Fingerprint fingerprint;
    Statement find(*state_->transaction, "SELECT id FROM client WHERE name = ?");
    find.set(0, client);
    find.open(*state_->transaction);
    if (!find.fetch()) return fingerprint;
    const std::int64_t id = find.integer(0);
    find.close();
    state_->read_accounts(id, std::string(client));
    state_->read_sets(id, std::string(client));
    Statement entries(*state_->transaction,
                      "SELECT path, from_sequence, to_sequence, kind, mode, owner_account, group_account, size_bytes, mtime, mtime_ns, ctime, ctime_ns, inode, "
                      "filesystem, links, device_major, device_minor, flags, digest, link_target, access_acl, default_acl, xattrs, long_path, extents "
                      "FROM entry e WHERE client = ? PLAN (e INDEX (entry_path))");
    entries.set(0, id);
    entries.open(*state_->transaction);
    while (entries.fetch()) {
      state_->add_entry(entries, sequences, fingerprint);
      state_->saw(1);
    }
    return fingerprint;
  });
}

// Firebird does the look-ups itself, row by row: over a network, one of ours would cost a round trip.
void CatalogCheck::State::check_index(const Index& index) {
  std::string declared, selected, into, condition;
  for (std::size_t i = 0; i < index.columns.size(); ++i) {
    const std::string column = index.columns[i], variable = "v" + std::to_string(i), comma = i == 0 ? "" : ", ";
    declared += fmt::format("DECLARE {} TYPE OF COLUMN {}.{};\n", variable, index.table, column);
    selected += comma + column;
    into += comma + ":" + variable;
    condition += fmt::format("{}x.{} = :{}", i == 0 ? "" : " AND ", column, variable);
  }
  Statement look(*transaction, fmt::format(R"(EXECUTE BLOCK RETURNS (seen BIGINT, lost BIGINT) AS
    {0}
    BEGIN
      seen = 0;
      lost = 0;
      FOR SELECT {1} FROM {2} r PLAN (r NATURAL) INTO {3} DO BEGIN
        seen = seen + 1;
        IF (NOT EXISTS (SELECT 1 FROM {2} x WHERE {4} PLAN (x INDEX ({5})))) THEN lost = lost + 1;
        IF (seen = {6}) THEN BEGIN
          SUSPEND;
          seen = 0;
          lost = 0;
        END
      END
      SUSPEND;
    END)", declared, selected, index.table, into, condition, index.name, told_rows));
  look.open(*transaction);
  std::int64_t lost = 0;
  while (look.fetch()) {
    saw(static_cast<std::uint64_t>(look.integer(0)));
    lost += look.integer(1);
  }
  if (lost > 0) events.on_damage(fmt::format("{} rows of {} are not found by the index {}", lost, index.table, index.name));
}

// Very many versions end at one place: each such place is counted.
void CatalogCheck::State::check_ends() {
  {
    Statement index(*transaction, "SELECT 1 FROM rdb$indices WHERE rdb$index_name = 'ENTRY_END'");
    index.open(*transaction);
    if (!index.fetch()) return;  // nothing has expired so far
  }
  Statement look(*transaction, R"(EXECUTE BLOCK RETURNS (wrong BIGINT) AS
    DECLARE c TYPE OF COLUMN entry.client;
    DECLARE t TYPE OF COLUMN entry.to_sequence;
    DECLARE n BIGINT;
    DECLARE found BIGINT;
    BEGIN
      wrong = 0;
      FOR SELECT client, to_sequence, COUNT(*) FROM entry r GROUP BY client, to_sequence PLAN SORT (r NATURAL) INTO :c, :t, :n DO BEGIN
        SELECT COUNT(*) FROM entry x WHERE x.client = :c AND x.to_sequence = :t PLAN (x INDEX (entry_end)) INTO :found;
        IF (found <> n) THEN wrong = wrong + 1;
      END
      SUSPEND;
    END)");
  look.open(*transaction);
  if (look.fetch() && look.integer(0) > 0) events.on_damage("rows of entry are not found by the index entry_end");
}

void CatalogCheck::check_indexes() {
  blaming_the_database([&] {
    for (const Index& index : row_indexes()) state_->check_index(index);
    state_->check_ends();
    for (const char* view : {"datasets", "versions", "files", "file_history", "acls", "xattrs"}) {
      Statement ask(*state_->transaction, std::string("SELECT FIRST 1 * FROM ") + view);
      ask.open(*state_->transaction);
      static_cast<void>(ask.fetch());
    }
  });
}

// One line for each thing that is defined, and for all that matters of it. Names of columns' sources are numbers that Firebird draws, and gbak
// writes 0 for NULL.
std::set<std::string> CatalogCheck::State::definitions(const Attachment& of) {
  static constexpr std::array queries{
      "SELECT 'relation', rdb$relation_name, rdb$relation_type, rdb$view_blr, rdb$view_source FROM rdb$relations WHERE rdb$system_flag = 0",
      "SELECT 'column', r.rdb$relation_name, r.rdb$field_name, r.rdb$field_position, COALESCE(r.rdb$null_flag, 0), r.rdb$default_source, "
      "r.rdb$base_field, COALESCE(r.rdb$view_context, 0), f.rdb$field_type, f.rdb$field_length, COALESCE(f.rdb$field_scale, 0), "
      "COALESCE(f.rdb$field_sub_type, 0), COALESCE(f.rdb$character_set_id, 0) "
      "FROM rdb$relation_fields r JOIN rdb$fields f ON f.rdb$field_name = r.rdb$field_source WHERE r.rdb$system_flag = 0",
      "SELECT 'index', i.rdb$index_name, i.rdb$relation_name, COALESCE(i.rdb$unique_flag, 0), COALESCE(i.rdb$index_type, 0), "
      "COALESCE(i.rdb$index_inactive, 0), s.rdb$field_name, "
      "s.rdb$field_position FROM rdb$indices i JOIN rdb$index_segments s ON s.rdb$index_name = i.rdb$index_name WHERE i.rdb$system_flag = 0",
      "SELECT 'constraint', rdb$constraint_type, rdb$relation_name, rdb$index_name FROM rdb$relation_constraints "
      "WHERE rdb$constraint_type <> 'NOT NULL'",
      "SELECT 'of view', rdb$view_name, rdb$relation_name, rdb$view_context, rdb$context_name FROM rdb$view_relations",
      "SELECT 'sequence', rdb$generator_name, rdb$generator_increment FROM rdb$generators WHERE rdb$system_flag = 0",
  };
  std::set<std::string> all;
  Transaction reading(of, Isolation::read);
  for (const char* query : queries) {
    Statement rows_of(reading, query, Statement::Output::text);
    rows_of.open(reading);
    while (rows_of.fetch()) {
      std::string line;
      for (unsigned i = 0; i < rows_of.columns(); ++i) line += rows_of.text(reading, i) + '\0';
      all.insert(std::move(line));
    }
  }
  return all;
}

void CatalogCheck::check_definitions() {
  if (!state_->location.host.empty()) return;
  blaming_the_database([&] {
    CatalogLocation fresh = state_->location;
    remove_left_references(fresh.engine_folder);
    fresh.database = fresh.engine_folder + "/" + reference_name + std::to_string(::getpid()) + ".fdb";
    struct Removed {
      const std::string file;
      ~Removed() { ::unlink(file.c_str()); }
    } const removed{fresh.database};
    ::unlink(fresh.database.c_str());
    const Attachment reference = Attachment::create(catalog_access(fresh), false);
    upgrade_schema(reference, Catalog::schema_version);
    const std::set<std::string> wanted = state_->definitions(reference), is = state_->definitions(*state_->attachment);
    std::set<std::string> others;
    for (const std::string& line : wanted) {
      if (is.contains(line)) continue;
      const std::size_t end = line.find('\0');
      std::string name = line.substr(end + 1, line.find('\0', end + 1) - end - 1);
      name.erase(name.find_last_not_of(' ') + 1);
      others.insert(line.substr(0, end) + " " + escape(name));
    }
    for (const std::string& other : others) state_->events.on_damage("the definition of " + other + " is not what it was made as");
  });
}

void CatalogCheck::check_pages() {
  state_->transaction.reset();
  state_->attachment.reset();
  const firebird::Access access = catalog_access(state_->location);
  std::vector<std::string> lines;
  auto gather = [&](std::string_view line) {
    if (!line.empty()) lines.emplace_back(line);
    state_->events.on_rows(0);
  };
  bool all = false;
  if (access.embedded) {
    const Fd lock = lock_opening(state_->location.engine_folder, true);
    all = blaming_the_database([&] { return firebird::validate_alone(access, state_->location.database, gather); });
  }
  if (!all) blaming_the_database([&] { firebird::validate(access, state_->location.database, gather); });
  for (const std::string& line : lines) state_->events.on_damage("its pages: " + escape(line));
}

}  // namespace syncropy

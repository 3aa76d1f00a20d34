#pragma once
// The index of all datasets in Firebird: rows with validity ranges, interned attributes, views for people.
// The repository decides what exists (model/manifest); a catalog can always be made again from it.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/dataset.hpp"
#include "model/entry.hpp"

namespace syncropy {

struct CatalogLocation {
  std::string host;            // empty: embedded engine
  std::uint16_t port = 3050;
  std::string user = "SYSDBA";
  std::string password;
  std::string database;        // embedded: absolute file; networked: path or alias as that server knows it
  std::string engine_folder;   // embedded: a folder of ours for firebird.conf (ServerMode = Classic) and lock files; made if missing, its parent
                               // must exist. One a process, and opened before any networked catalog (engine.hpp says why)
};

struct RecordedDataset {
  DatasetInfo info;
};

// One attachment. Not thread-safe; make one per thread. After Error unavailable make a new one. Every failure is an Error: unavailable (server away,
// wrong password: says which), data (not a catalog of ours, damaged, or of a newer schema: both version numbers and the remedy), io (disk full).
class Catalog {
 public:
  // Creates the database and its schema where there is none; upgrades an older schema; refuses a newer one.
  explicit Catalog(const CatalogLocation& location);
  // True where an embedded database was removed because it was being written when the machine stopped, or upgraded when a program did (crash-guard.hpp): all is recorded anew.
  [[nodiscard]] bool was_unsafe() const;
  // Attaches only to what exists and is safe (Error no_input otherwise) and changes nothing: for `list`.
  static Catalog open_existing(const CatalogLocation& location);
  // A new embedded catalog beside the one that is in use, in the file DATABASE.rebuilding; one that is left there from before is removed.
  // Nothing of it is durable, which makes it several times faster to fill.
  static Catalog create_draft(const CatalogLocation& location);
  // The draft, which nobody has open any more, takes the place of the catalog, in one step and durably. Who has the old one open still has it.
  static void publish_draft(const CatalogLocation& location);
  static void discard_draft(const CatalogLocation& location) noexcept;
  // A backup of the whole database in the format of Firebird's gbak(1), as it is at one moment, in use or not: replaces `file` in one step and
  // durably, or leaves it as it is. Returns its size. Error(io) where the file cannot be written, others as of open_existing().
  static std::uint64_t back_up(const CatalogLocation& location, const std::string& file);
  ~Catalog();
  Catalog(Catalog&&) noexcept;

  // All datasets of a client by sequence; of all clients, by client then sequence, when `client` is empty.
  [[nodiscard]] std::vector<RecordedDataset> datasets(std::string_view client = {});

  // The difference between the client's newest recorded dataset and the next one, in one transaction. Entry order does not matter.
  class Recording {
   public:
    // `path` as it was is valid no longer: its version ends before this dataset. No error when there is none.
    void end_version(std::string_view path);
    // A version that begins with this dataset.
    void begin_version(const Entry& entry);
    // Writes the dataset's row and commits. Without it, the destructor rolls everything back.
    void commit(const DatasetInfo& final_info);
    Recording(Recording&&) noexcept;
    ~Recording();
    struct State;

   private:
    friend class Catalog;
    explicit Recording(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
  };
  // `after`: the newest recorded dataset of the client, which the difference is one to; 0: none. Where the newest is another one by now (a
  // database server may still work for a program that was killed) Error unavailable, or busy
  // where it was waited for: look again.
  // `sequence` must be greater than every recorded one of this client (Error internal). One Recording at a time per Catalog; recordings
  // of different clients in different Catalogs (threads, processes) run side by side without conflict, shared interned rows included.
  [[nodiscard]] Recording record(std::string_view client, std::uint64_t sequence, std::uint64_t after);

  // The dataset is gone, and no view shows it from now on; a matter of milliseconds. The versions that only it had stay until trim(), and
  // until then FILE_HISTORY may show in two rows what was the same before and after it. No error when not recorded.
  void remove(std::string_view client, std::uint64_t sequence);
  // Deletes every version that no remaining dataset of the client covers since remove(), and the attributes, link targets and extents that
  // only these had: about 4 us each. record() begins with it where it has to. Error busy where the client is being recorded.
  void trim(std::string_view client);
  // Deletes all rows of a client: before it is recorded anew from its manifests.
  void forget(std::string_view client);

  // Rows of a query as text, NULL as "", times as 2023-11-14 22:13:20.1230: for tests and people's questions. At most `most` rows. Changes
  // nothing. schema.cpp and the comments in the database explain the views. Error usage where `sql` is no query, or
  // one that Firebird does not understand; whatever it is, it changes nothing.
  struct Table {
    std::vector<std::string> columns;
    std::vector<std::vector<std::string>> rows;
  };
  [[nodiscard]] Table query(const std::string& sql, std::size_t most = 1'000);

  // Version number this program writes.
  static constexpr int schema_version = 3;
  struct State;

 private:
  explicit Catalog(std::unique_ptr<State> state);
  static Catalog open_unguarded(const CatalogLocation& location);
  std::unique_ptr<State> state_;
};

}  // namespace syncropy

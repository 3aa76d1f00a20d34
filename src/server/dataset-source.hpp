#pragma once
// A dataset that is read back: the entries a person chose, in manifest order, and the content stored for them.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "repository/manifest-store.hpp"
#include "repository/repository.hpp"
#include "scan/excludes.hpp"
#include "util/fd.hpp"
#include "util/folder.hpp"

namespace syncropy {

struct SelectedDataset;

// Keeps a shared lock on the dataset as long as it lives: expiry passes it over.
class DatasetSource {
 public:
  explicit DatasetSource(const SelectedDataset& selected);
  // A dataset's folder, wherever it lies, with tree/ and manifest/ in it: needs neither repository nor catalog. Error(no_input) where it is
  // not there or is none, with what is missing.
  static DatasetSource from_folder(const std::string& folder);

  [[nodiscard]] const DatasetInfo& info() const { return info_; }
  // "web1/hour/2026-11-22T190500Z", or the folder it was opened by; escaped.
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] ManifestReader manifest() const;
  // The content stored for a regular file, open for reading, of the entry's size. An empty Fd where it is missing, of another size or
  // unreadable: `code` is the errno (EBADMSG: another size or type).
  [[nodiscard]] Fd open_content(const Entry& entry, int& code);

 private:
  DatasetSource(Fd folder, std::string name);

  Fd folder_;
  std::string name_;
  DatasetInfo info_;
  FolderCursor tree_;
};

struct Selection {
  std::vector<std::string> paths;     // as typed: with or without a leading slash; empty: everything
  std::vector<std::string> includes;  // patterns as in syncropy.yaml(5): only what matches one, or lies in what does; empty: everything
  std::vector<std::string> excludes;  // what matches one is left out, with all below
};

struct ChosenEntry {
  Entry entry;
  bool on_the_way = false;  // a folder that is not chosen itself but leads to what is
};

// A folder on the way comes only when something below it was chosen.
class SelectedEntries {
 public:
  // Throws Error(usage) for what cannot be a path, Error(no_input) for a path that is not in the dataset (naming what is nearest),
  // Error(config) for a pattern that is none.
  SelectedEntries(const DatasetSource& source, const Selection& selection);
  [[nodiscard]] bool next(ChosenEntry& chosen);

 private:
  struct Level {                     // a folder of the current path
    std::string path;
    Excludes::Position excluded, included;
    bool wanted;                     // by an include of itself or of a folder above
    std::optional<Entry> pending;    // on the way, and not handed out yet
  };
  void start_root();
  void leave_to(std::string_view path);
  [[nodiscard]] bool choose(Entry&& entry);
  void enter(Entry&& entry);

  const DatasetSource& source_;
  std::vector<std::string> roots_;   // sorted, none inside another
  std::size_t next_root_ = 0;
  bool everything_;
  Excludes excludes_, includes_;
  std::optional<ManifestReader> reader_;
  std::vector<Level> levels_;
  std::string skipped_;              // an excluded folder: what lies below is passed over
  bool skipping_ = false;
  std::deque<ChosenEntry> ready_;
};

// A path as people type it, as entries have it. Throws Error(usage).
[[nodiscard]] std::string entry_path(std::string path);

}  // namespace syncropy

#pragma once
// What `syncropy verify` has found wrong in a dataset, kept in the file DATASET/damaged (syncropy-repository(5)). It lies in the dataset's own
// folder: so it goes wherever the dataset goes, and is gone with it. Nothing it names is ever linked into another dataset again.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace syncropy {

// In the order of how much is lost; the numbers stand in the file.
enum class DamageKind : std::uint8_t {
  unexpected = 1,  // a name that the manifest does not have
  mode,            // other permissions than stored files and folders have
  time,            // another modification time
  target,          // a symbolic link that points elsewhere
  size,
  type,            // a folder where a file should be, and so on
  content,         // not the bytes that were backed up
  unreadable,      // the disk does not give it back
  missing,
};
// "is missing", "is not what was backed up", … : what is said of the path.
[[nodiscard]] const char* describe(DamageKind kind);
// "missing", "content", …: one word.
[[nodiscard]] const char* word_of(DamageKind kind);

namespace limits {
inline constexpr std::size_t damaged_paths = 100'000;     // of one dataset: more count as all
inline constexpr std::size_t damaged_bytes = 64U << 20;   // of their paths together, likewise
}  // namespace limits

class DamageList {
 public:
  DamageList() = default;
  // Of the dataset with this folder; empty where nothing is noted. A list that cannot be read names everything.
  static DamageList read(int dataset_folder);

  [[nodiscard]] bool empty() const { return paths_.empty() && !everything_ && !manifest_; }
  // Part of the manifest cannot be read.
  [[nodiscard]] bool manifest() const { return manifest_; }
  // There was more than a list may hold.
  [[nodiscard]] bool everything() const { return everything_; }
  // Whether the path is damaged; what is missing with the folder it was in is not named itself.
  [[nodiscard]] bool has(std::string_view path) const { return everything_ || (!paths_.empty() && paths_.find(path) != paths_.end()); }
  [[nodiscard]] const std::map<std::string, DamageKind, std::less<>>& paths() const { return paths_; }

  // Of several kinds the one that loses most stays.
  void add(const std::string& path, DamageKind kind);
  void add_manifest() { manifest_ = true; }
  void add_everything();

  // Replaces the file in one step and durably; an empty list removes it. `subject` names the dataset in errors. The caller holds the client's
  // lock, and a shared one on the dataset.
  void write(int dataset_folder, const std::string& subject) const;
  bool operator==(const DamageList&) const = default;

 private:
  std::map<std::string, DamageKind, std::less<>> paths_;
  std::size_t bytes_ = 0;
  bool manifest_ = false, everything_ = false;
};

}  // namespace syncropy

#include "server/verify-noting.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "repository/manifest-store.hpp"
#include "repository/tree.hpp"
#include "server/select.hpp"
#include "util/error.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

bool comes_before(std::string_view left, std::string_view right) { return compare_paths(left, right) < 0; }

class Noting {
 public:
  Noting(ClientStore& store, const VerifyFindings& findings, const std::deque<VerifyDataset>& verified,
         const std::function<void(std::uint64_t)>& on_bytes, VerifyResult& result)
      : store_(store), findings_(findings), verified_(verified), on_bytes_(on_bytes), result_(result) {
    for (const auto& [key, found] : findings_.found()) {
      const auto& [path, kind, inode] = key;
      if (inode == 0) continue;
      damaged_.emplace(std::tuple(inode, found.digest, kind), found.code);
      digests_.insert(found.digest);
    }
  }

  void note() {
    for (const StoredDataset& dataset : store_.datasets().good) note_in(dataset.info);
    if (!findings_.found().empty()) store_.discard_spare();
    finish();
  }

  // Without a lock nothing is noted, but what was found is told.
  void tell() {
    for (const auto& [key, found] : findings_.found())
      for (const VerifyDataset* dataset : found.datasets)
        if (!dataset->gone) report(key, found.code, dataset->name);
    finish();
  }

 private:
  void finish() {
    for (auto& [key, path] : paths_) result_.damage.push_back(std::move(path));
  }

  void report(const VerifyFindings::Key& key, int code, const std::string& dataset) {
    const auto& [path, kind, inode] = key;
    DamagedPath& damaged = paths_.try_emplace(key, DamagedPath{path, kind, code, inode, {}}).first->second;
    if (std::find(damaged.datasets.begin(), damaged.datasets.end(), dataset) == damaged.datasets.end()) damaged.datasets.push_back(dataset);
  }

  void note_in(const DatasetInfo& info) {
    const std::string name = std::string(name_of(info.tier)) + "/" + info.name;
    const auto place = std::find_if(verified_.begin(), verified_.end(), [&](const VerifyDataset& dataset) { return dataset.name == name; });
    const VerifyDataset* verified = place == verified_.end() || place->gone ? nullptr : &*place;
    const Fd folder = store_.open_dataset(info.tier, info.name);
    const DamageList before = DamageList::read(folder.get());
    DamageList now;
    auto note = [&](const VerifyFindings::Key& key, int code) {
      now.add(std::get<std::string>(key), std::get<DamageKind>(key));
      report(key, code, name);
    };
    for (const auto& [key, found] : findings_.found())
      if (verified != nullptr && found.datasets.contains(verified)) note(key, found.code);
    const Fd tree = open_beneath(folder.get(), "tree", O_RDONLY | O_DIRECTORY);
    try {
      if (!damaged_.empty() && tree) find_sharing(info, folder, tree, note);
      // What was not asked for is not looked at: what is noted there stays.
      if (verified == nullptr) keep(before, now);
      else if (tree) look_again(info, folder, tree, before, now, note);
    } catch (const Error& error) {
      if (error.status() != ExitStatus::data) throw;
      keep(before, now);
    }
    if ((verified != nullptr && verified->broken) || (verified == nullptr && before.manifest())) now.add_manifest();
    if ((before.everything() && verified == nullptr) || findings_.crowded().contains(verified)) now.add_everything();
    if (verified != nullptr && now.everything()) result_.more = true;
    if (now != before) now.write(folder.get(), full_name(info));
  }

  static void keep(const DamageList& before, DamageList& now) {
    for (const auto& [path, kind] : before.paths()) now.add(path, kind);
  }

  // Names that lead to an inode that is damaged, whatever was verified: also in a dataset that was published meanwhile. A stored inode is
  // shared by entries of one digest only, and segments by most datasets.
  template <typename Note>
  void find_sharing(const DatasetInfo& info, const Fd& folder, const Fd& tree, const Note& note) {
    const Fd manifest = open_beneath(folder.get(), "manifest", O_RDONLY | O_DIRECTORY);
    if (!manifest) throw SystemError(damage_status(errno), errno, "open the manifest of", full_name(info));
    FolderCursor cursor(tree.duplicate());
    for (const SegmentInfo& segment : read_index(manifest.get(), full_name(info)).segments) {
      on_bytes_(0);
      for (const Candidate& candidate : candidates_of(segment, manifest, full_name(info))) {
        const int at = cursor.move_to(parent_of(candidate.path));
        struct stat st{};
        if (at < 0 || ::fstatat(at, std::string(name_of(candidate.path)).c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        for (const DamageKind kind : {DamageKind::content, DamageKind::unreadable})
          if (const auto found = damaged_.find({st.st_ino, candidate.digest, kind}); found != damaged_.end())
            note({candidate.path, kind, st.st_ino}, found->second);
      }
    }
  }

  struct Candidate {
    std::string path;
    Digest digest;
  };
  const std::vector<Candidate>& candidates_of(const SegmentInfo& segment, const Fd& manifest, const std::string& subject) {
    const auto [place, is_new] = candidates_.try_emplace(segment.digest);
    if (!is_new) return place->second;
    try {
      const std::unique_ptr<SegmentReader> reader = open_segment(manifest.get(), segment, subject);
      Entry entry;
      while (reader->next(entry))
        if (entry.digest && digests_.contains(*entry.digest)) place->second.push_back({entry.path, *entry.digest});
    } catch (const Error& error) {
      candidates_.erase(place);
      if (error.status() != ExitStatus::data) throw;
      static const std::vector<Candidate> none;
      return none;  // another dataset may have the same segment whole
    }
    return place->second;
  }

  // What was noted earlier and not met now: whatever was verified, it is looked at again.
  template <typename Note>
  void look_again(const DatasetInfo& info, const Fd& folder, const Fd& tree, const DamageList& before, const DamageList& now, const Note& note) {
    std::vector<std::string> paths;
    for (const auto& [path, kind] : before.paths())
      if (!now.has(path)) paths.push_back(path);
    if (paths.empty()) return;
    std::sort(paths.begin(), paths.end(), comes_before);
    Fd manifest = open_beneath(folder.get(), "manifest", O_RDONLY | O_DIRECTORY);
    if (!manifest) throw SystemError(damage_status(errno), errno, "open the manifest of", full_name(info));
    ManifestReader reader(std::move(manifest), full_name(info));
    FolderCursor cursor(tree.duplicate());
    reader.seek(paths.front());
    Entry entry;
    bool has_entry = reader.next(entry);
    for (const std::string& path : paths) {
      while (has_entry && comes_before(entry.path, path)) has_entry = reader.next(entry);
      const int at = cursor.move_to(parent_of(path));
      struct stat st{};
      if (!has_entry || entry.path != path || !has_stored_name(entry)) {
        if (at >= 0 && ::fstatat(at, std::string(name_of(path)).c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) note({path, DamageKind::unexpected, 0}, 0);
        continue;
      }
      StoredState state{DamageKind::missing, 0};
      if (at >= 0) state = check_name(at, std::string(name_of(path)), entry, st);
      std::uint64_t inode = 0;
      if (entry.digest && (!state.damage || *state.damage < DamageKind::size)) {
        const auto [content, is_new] = again_.try_emplace({st.st_ino, *entry.digest});
        if (is_new) content->second = check_content(at, std::string(name_of(path)), entry, on_bytes_);
        if (content->second.damage) state = content->second, inode = st.st_ino;
      }
      if (state.damage) note({path, *state.damage, inode}, state.code);
    }
  }

  ClientStore& store_;
  const VerifyFindings& findings_;
  const std::deque<VerifyDataset>& verified_;
  const std::function<void(std::uint64_t)>& on_bytes_;
  VerifyResult& result_;
  std::map<std::tuple<std::uint64_t, Digest, DamageKind>, int> damaged_;  // stored files: by inode, and the errno
  std::set<Digest> digests_;                                              // of what they should hold
  std::map<Digest, std::vector<Candidate>> candidates_;                   // by segment
  std::unordered_map<StoredKey, StoredState, StoredKeyHash> again_;
  std::map<VerifyFindings::Key, DamagedPath> paths_;
};

bool has_notes(const ClientStore& store) {
  for (const StoredDataset& dataset : store.datasets().good) {
    try {
      if (!DamageList::read(store.open_dataset(dataset.info.tier, dataset.info.name).get()).empty()) return true;
    } catch (const Error& error) {
      if (error.status() != ExitStatus::no_input) throw;  // expired meanwhile
    }
  }
  return false;
}

}  // namespace

void note_damage(ClientStore& store, const VerifyFindings& findings, const std::deque<VerifyDataset>& verified, unsigned lock_wait_seconds,
                 const std::function<void(std::uint64_t)>& on_bytes, VerifyResult& result) {
  result.manifests.insert(result.manifests.end(), findings.manifests().begin(), findings.manifests().end());
  result.more = !findings.crowded().empty();
  if (findings.found().empty() && findings.manifests().empty() && !has_notes(store)) return;
  Noting noting(store, findings, verified, on_bytes, result);
  try {
    store.lock(lock_wait_seconds);
    noting.note();
  } catch (const Error& error) {
    result.not_noted = error.line();
    noting.tell();
  }
}

}  // namespace syncropy

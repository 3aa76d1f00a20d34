#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <tuple>

#include "repository/damage.hpp"
#include "repository/manifest-store.hpp"
#include "repository/rename.hpp"
#include "repository/repository.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"
#include "util/folder.hpp"
#include "util/idle-io.hpp"

// What a crash can leave, and why recovery is one rule: a dataset is built whole in .staging, its bytes reach the disk (syncfs), and
// one rename gives it its final name. Before that rename it is in .staging and is nothing; after it, it is a dataset. An expired tree
// leaves by one rename into .spare, and from there by one into .staging, to be used again, or into .trash. So whatever stands in .staging or .trash is nobody's,
// whatever stands in a tier is whole, and looking at the folders is enough.

namespace syncropy {
namespace {

constexpr const char* staging_folder = ".staging";
constexpr const char* trash_folder = ".trash";
constexpr const char* tree_folder = "tree";
constexpr const char* manifest_folder = "manifest";
constexpr const char* spare_manifest_folder = "spare-manifest";
constexpr const char* removed_folder = "removed";
constexpr const char* latest_link = "latest";

Fd open_folder(int at, const std::string& name) { return Fd(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)); }

}  // namespace

void ClientStore::lock(unsigned wait_seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(wait_seconds);
  while (::flock(folder_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) throw_errno(ExitStatus::repository, "lock", where_, "flock(2) must work on the repository's filesystem");
    if (std::chrono::steady_clock::now() >= deadline)
      throw Error(ExitStatus::busy, "another run of client '" + name_ + "' holds its lock on " + escape(where_),
                  "wait for it to end ('fuser -v " + escape(where_) + "' shows it), then run again");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

Fd ClientStore::subfolder(const char* name, bool create) const {
  if (create && ::mkdirat(folder_.get(), name, 0700) != 0 && errno != EEXIST) throw_errno(ExitStatus::repository, "make", where_ + "/" + name);
  Fd folder = open_folder(folder_.get(), name);
  if (!folder && (create || errno != ENOENT)) throw_errno(ExitStatus::repository, "open", where_ + "/" + name);
  return folder;
}

ClientStore::Datasets ClientStore::datasets() const {
  Datasets result;
  for (Tier tier : all_tiers) {
    const std::string tier_name(name_of(tier));
    const Fd folder = subfolder(tier_name.c_str(), false);
    if (!folder) continue;
    for (const std::string& name : names_in(folder.get())) {
      if (!is_dataset_name(name)) continue;
      try {
        const Fd manifest = open_beneath(folder.get(), name + "/manifest", O_RDONLY | O_DIRECTORY);
        if (!manifest) throw_errno(damage_status(errno), "open", where_ + "/" + tier_name + "/" + name + "/manifest");
        DatasetInfo info = read_index(manifest.get(), where_ + "/" + tier_name + "/" + name).info;
        if (info.client != name_ || info.tier != tier || info.name != name)
          throw Error(ExitStatus::data, "its manifest says it is " + info.client + "/" + std::string(name_of(info.tier)) + "/" + info.name);
        result.good.push_back({std::move(info)});
      } catch (const Error& error) {
        if (error.status() != ExitStatus::data) throw;
        result.damaged.push_back({tier, name, error.what()});
      }
    }
  }
  auto key = [](const StoredDataset& dataset) { return std::tie(dataset.info.sequence, dataset.info.started, dataset.info.tier, dataset.info.name); };
  std::sort(result.good.begin(), result.good.end(), [&](const StoredDataset& l, const StoredDataset& r) { return key(l) < key(r); });
  for (std::size_t i = 0; i + 1 < result.good.size();) {
    const DatasetInfo &info = result.good[i].info, &next = result.good[i + 1].info;
    if (info.sequence < next.sequence) {
      ++i;
      continue;
    }
    result.damaged.push_back(
        {info.tier, info.name,
         "it has the sequence number " + std::to_string(info.sequence) + " of " + std::string(name_of(next.tier)) + "/" + next.name});
    result.good.erase(result.good.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return result;
}

Fd ClientStore::open_dataset(Tier tier, const std::string& name) const {
  const std::string path = std::string(name_of(tier)) + "/" + name;
  Fd folder = open_beneath(folder_.get(), path, O_RDONLY | O_DIRECTORY);
  if (!folder && errno == ENOENT)
    throw Error(ExitStatus::no_input, "there is no dataset " + name_ + "/" + escape(path),
                "'syncropy list " + name_ + "' shows those that are there");
  if (!folder) throw_errno(ExitStatus::repository, "open dataset", name_ + "/" + path, "run as the user that owns the repository");
  while (::flock(folder.get(), LOCK_SH) != 0)
    if (errno != EINTR) throw_errno(ExitStatus::repository, "lock dataset", name_ + "/" + path);
  return folder;
}

std::optional<std::string> ClientStore::manifest_damage(Tier tier, const std::string& name) const {
  const Fd dataset = open_dataset(tier, name);
  const std::string subject = name_ + "/" + std::string(name_of(tier)) + "/" + name;
  try {
    Fd manifest = open_beneath(dataset.get(), "manifest", O_RDONLY | O_DIRECTORY);
    if (!manifest) throw_errno(damage_status(errno), "open", subject + "/manifest");
    ManifestReader reader(std::move(manifest), subject);
    Entry entry;
    while (reader.next(entry)) {}
    return std::nullopt;
  } catch (const Error& error) {
    if (error.status() != ExitStatus::data) throw;
    return error.what();
  }
}

unsigned ClientStore::recover() const {
  unsigned unfinished = 0;
  if (const Fd staging = subfolder(staging_folder, false)) {
    for (const std::string& name : names_in(staging.get())) {
      to_trash(staging.get(), name);
      ++unfinished;
    }
  }
  // Of several spares (a crash between two renames) one stays, whichever: both have expired.
  if (const Fd spares = subfolder(spare_folder, false)) {
    const std::vector<std::string> names = names_in(spares.get());
    for (std::size_t i = 0; i + 1 < names.size(); ++i) to_trash(spares.get(), names[i]);
  }
  point_latest();
  return unfinished;
}

Staging ClientStore::begin(const std::string& name) const {
  const Fd parent = subfolder(staging_folder, true);
  static_cast<void>(subfolder(trash_folder, true));  // when it is needed the disk may be full
  Staging staging;
  staging.name = name;
  const std::string where = where_ + "/" + staging_folder + "/" + name;
  if (::mkdirat(parent.get(), name.c_str(), 0700) != 0) throw_errno(ExitStatus::repository, "make", where);
  staging.folder = open_folder(parent.get(), name);
  if (!staging.folder || ::mkdirat(staging.folder.get(), tree_folder, 0700) != 0 || ::mkdirat(staging.folder.get(), manifest_folder, 0700) != 0)
    throw_errno(ExitStatus::repository, "make", where);
  open_parts(staging);
  return staging;
}

std::optional<Staging> ClientStore::begin_with_spare(const std::string& name) const {
  const Fd spares = subfolder(spare_folder, false);
  if (!spares) return std::nullopt;
  const std::vector<std::string> names = names_in(spares.get());
  if (names.empty()) return std::nullopt;
  const Fd parent = subfolder(staging_folder, true);
  static_cast<void>(subfolder(trash_folder, true));
  Staging staging;
  staging.name = name;
  const std::string where = where_ + "/" + staging_folder + "/" + name;
  // This consumes the spare: from here on it is nobody's until it is published.
  if (rename_exclusive(spares.get(), names.back(), parent.get(), name) != 0) throw_errno(ExitStatus::repository, "take the spare to", where);
  try {
    staging.folder = open_folder(parent.get(), name);
    if (!staging.folder) throw_errno(damage_status(errno), "open", where);
    if (!DamageList::read(staging.folder.get()).empty()) throw Error(ExitStatus::data, where + " holds what verify has found damaged");
    if (rename_exclusive(staging.folder.get(), manifest_folder, staging.folder.get(), spare_manifest_folder) != 0)
      throw_errno(ExitStatus::data, "set aside the manifest of the spare in", where);
    for (const char* part : {manifest_folder, removed_folder})
      if (::mkdirat(staging.folder.get(), part, 0700) != 0) throw_errno(ExitStatus::repository, "make", where);
    staging.removed = open_folder(staging.folder.get(), removed_folder);
    if (!staging.removed) throw_errno(ExitStatus::repository, "open", where + "/" + removed_folder);
    staging.spare_manifest = open_folder(staging.folder.get(), spare_manifest_folder);
    if (!staging.spare_manifest) throw_errno(ExitStatus::data, "open the manifest of the spare in", where);
    static_cast<void>(read_index(staging.spare_manifest.get(), where));
    open_parts(staging);
  } catch (const Error& error) {
    if (error.status() != ExitStatus::data) throw;
    to_trash(parent.get(), name);  // somebody was at it, or the disk forgets
    return std::nullopt;
  }
  return staging;
}

void ClientStore::open_parts(Staging& staging) const {
  staging.tree = open_folder(staging.folder.get(), tree_folder);
  staging.manifest = open_folder(staging.folder.get(), manifest_folder);
  if (!staging.tree || !staging.manifest) throw_errno(ExitStatus::data, "open", where_ + "/" + staging_folder + "/" + staging.name);
}

void ClientStore::clear(Staging& staging) const {
  to_trash(staging.folder.get(), tree_folder);
  staging.spare_manifest = Fd();
  staging.removed = Fd();
  if (::mkdirat(staging.folder.get(), tree_folder, 0700) != 0) throw_errno(ExitStatus::repository, "make", where_ + "/" + staging_folder + "/" + staging.name);
  open_parts(staging);
}

void ClientStore::publish(Staging staging, Tier tier) const {
  const std::string where = where_ + "/" + std::string(name_of(tier)) + "/" + staging.name;
  const Fd parent = subfolder(staging_folder, true);
  const Fd target = subfolder(std::string(name_of(tier)).c_str(), true);
  draft_given(tier, read_index(staging.manifest.get(), where).info.sequence, staging.name);
  remove_tree(staging.folder.get(), spare_manifest_folder);
  if (::unlinkat(staging.folder.get(), removed_folder, AT_REMOVEDIR) != 0 && errno != ENOENT) to_trash(staging.folder.get(), removed_folder);
  // Contents before name: without this, a power cut leaves whole trees of empty files under a published name.
  if (::syncfs(staging.folder.get()) != 0) throw_errno(ExitStatus::io, "sync the filesystem of", where);
  settle_given();  // before the name is given
  if (rename_exclusive(parent.get(), staging.name, target.get(), staging.name) != 0) throw_errno(ExitStatus::repository, "publish", where);
  for (const Fd* folder : {&target, &parent, &folder_})
    if (::fsync(folder->get()) != 0) throw_errno(ExitStatus::io, "sync", where);
  point_latest();
}

RetireResult ClientStore::retire(Tier tier, const std::string& name) const {
  const Fd from = subfolder(std::string(name_of(tier)).c_str(), true);
  const Fd spares = subfolder(spare_folder, true);
  const Fd dataset = open_folder(from.get(), name);
  if (!dataset) throw_errno(ExitStatus::repository, "open dataset", where_ + "/" + std::string(name_of(tier)) + "/" + name);
  if (::flock(dataset.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return RetireResult::in_use;
    throw_errno(ExitStatus::repository, "lock dataset", name);
  }
  const std::vector<std::string> before = names_in(spares.get());
  point_latest(std::string(name_of(tier)) + "/" + name);  // a link to what has gone would stay where this is killed
  if (rename_exclusive(from.get(), name, spares.get(), std::string(name_of(tier)) + "." + name) != 0)
    throw_errno(ExitStatus::repository, "expire dataset", where_ + "/" + std::string(name_of(tier)) + "/" + name);
  for (const Fd* folder : {&from, &spares})
    if (::fsync(folder->get()) != 0) throw_errno(ExitStatus::io, "sync", where_);
  for (const std::string& old : before) to_trash(spares.get(), old);
  return RetireResult::retired;
}

void ClientStore::discard_spare() const {
  if (const Fd spares = subfolder(spare_folder, false))
    for (const std::string& name : names_in(spares.get())) to_trash(spares.get(), name);
}

void ClientStore::to_trash(int from, const std::string& name) const {
  const Fd trash = subfolder(trash_folder, true);
  for (unsigned number = 1;; ++number) {
    if (rename_exclusive(from, name, trash.get(), std::to_string(number)) == 0) return;
    if (errno != EEXIST) throw_errno(ExitStatus::repository, "move to the trash", where_ + "/…/" + name);
  }
}

void ClientStore::empty_trash(const std::function<bool()>& go_on) const {
  const Fd trash = subfolder(trash_folder, false);
  if (!trash) return;
  if (::flock(trash.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return;
    throw_errno(ExitStatus::repository, "lock", where_ + "/" + trash_folder);
  }
  const IdleIo idle;
  for (const std::string& name : names_in(trash.get()))
    if (!remove_tree(trash.get(), name, go_on)) return;
}

void ClientStore::point_latest(const std::string& leaving) const {
  const Datasets all = datasets();
  std::string target;
  for (auto dataset = all.good.rbegin(); dataset != all.good.rend() && target.empty(); ++dataset)
    if (std::string label = std::string(name_of(dataset->info.tier)) + "/" + dataset->info.name; label != leaving) target = std::move(label);
  char now[256];
  const ssize_t length = ::readlinkat(folder_.get(), latest_link, now, sizeof now);
  if (length >= 0 && std::string_view(now, static_cast<std::size_t>(length)) == target) return;
  if (target.empty()) {
    ::unlinkat(folder_.get(), latest_link, 0);
    return;
  }
  constexpr const char* draft = ".latest-new";
  ::unlinkat(folder_.get(), draft, 0);
  if (::symlinkat(target.c_str(), folder_.get(), draft) != 0 || ::renameat(folder_.get(), draft, folder_.get(), latest_link) != 0)
    throw_errno(ExitStatus::repository, "point the link", where_ + "/" + latest_link);
}

}  // namespace syncropy

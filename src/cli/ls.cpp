#include <fcntl.h>
#include <fmt/format.h>

#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/damage.hpp"
#include "repository/manifest-store.hpp"
#include "repository/repository.hpp"
#include "server/select.hpp"
#include "util/escape.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

std::string mode_text(const Entry& entry) {
  const unsigned mode = entry.stat.mode;
  std::string text(1, letter_of(entry.stat.type));
  for (int shift = 6; shift >= 0; shift -= 3)
    for (int bit = 2; bit >= 0; --bit) text += mode >> (shift + bit) & 1 ? "xwr"[bit] : '-';
  auto special = [&](unsigned bit, std::size_t at, char set) {
    if (mode & bit) text[at] = text[at] == 'x' ? set : static_cast<char>(set - 'a' + 'A');
  };
  special(04000, 3, 's');
  special(02000, 6, 's');
  special(01000, 9, 't');
  text += !entry.details.access_acl.empty() || !entry.details.default_acl.empty() ? '+' : !entry.details.xattrs.empty() ? '@' : ' ';
  return text;
}

std::string account(const std::string& name, std::uint32_t number) { return name.empty() ? std::to_string(number) : escape(name); }

void print(const Entry& entry, const DamageList& damage) {
  const bool device = entry.stat.type == FileType::block_device || entry.stat.type == FileType::character_device;
  const std::string size = device ? fmt::format("{}, {}", entry.stat.device_major, entry.stat.device_minor) : std::to_string(entry.stat.size);
  std::string name = "/" + escape(entry.path);
  if (entry.stat.type == FileType::symlink) name += " -> " + escape(entry.details.link_target);
  if (entry.flags & unread) name += "  (could not be read)";
  else if (entry.flags & unstable) name += "  (changed while it was read)";
  if (const auto found = damage.paths().find(entry.path); found != damage.paths().end()) name += std::string("  (damaged: ") + describe(found->second) + ")";
  fmt::print("{} {:>3} {:<8} {:<8} {:>12} {} {}\n", mode_text(entry), entry.stat.links, account(entry.details.owner, entry.stat.uid), account(entry.details.group, entry.stat.gid), size,
             format_time(entry.stat.mtime.seconds), name);
}

std::string relative(std::string path) {
  while (path.starts_with('/')) path.erase(0, 1);
  while (path.ends_with('/')) path.pop_back();
  if (const char* why = why_not_a_path(path)) throw Error(ExitStatus::usage, "'" + escape(path) + "' cannot be a path: it " + why, "write it as it is on the client");
  return path;
}

}  // namespace

ExitStatus verb_ls(const std::string& config, const std::string& dataset, const std::string& path, bool recursive) {
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::none);
  become_owner_of(settings.repository);
  const Repository repository = Repository::open(settings.repository, false);
  const SelectedDataset selected = select_dataset(repository, dataset);
  const std::string wanted = relative(path);
  const Fd folder = selected.store.open_dataset(selected.info.tier, selected.info.name);
  Fd manifest = open_beneath(folder.get(), "manifest", O_RDONLY | O_DIRECTORY);
  if (!manifest) throw_errno(damage_status(errno), "open the manifest of", full_name(selected.info));
  ManifestReader reader(std::move(manifest), full_name(selected.info));
  reader.seek(wanted);
  const DamageList damage = DamageList::read(folder.get());
  bool found = false;
  Entry entry;
  while (reader.next(entry)) {
    const bool is_itself = entry.path == wanted;
    const bool below = wanted.empty() ? !entry.path.empty() : entry.path.size() > wanted.size() && entry.path.starts_with(wanted) && entry.path[wanted.size()] == '/';
    if (!is_itself && !below) {
      if (compare_paths(entry.path, wanted) > 0) break;
      continue;
    }
    found = true;
    if (is_itself || recursive || parent_of(entry.path) == wanted) print(entry, damage);
  }
  if (!found) throw Error(ExitStatus::no_input, "there is no /" + escape(wanted) + " in " + full_name(selected.info), "'syncropy ls " + full_name(selected.info) + " /" + escape(parent_of(wanted)) + "' shows what is near");
  return ExitStatus::success;
}

}  // namespace syncropy

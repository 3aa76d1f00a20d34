#include "server/complete.hpp"

#include <algorithm>

#include "server/dataset-source.hpp"
#include "server/select.hpp"
#include "util/escape.hpp"

namespace syncropy {

std::vector<std::string> complete_dataset(const Repository& repository, std::string_view typed) {
  std::vector<std::string> found;
  auto offer = [&](std::string name) {
    if (name.starts_with(typed)) found.push_back(std::move(name));
  };
  const std::size_t slash = typed.find('/');
  for (const std::string& client : repository.clients()) {
    if (slash == std::string_view::npos) {
      offer(client);
      continue;
    }
    if (client != typed.substr(0, slash)) continue;
    const bool has_tier = typed.find('/', slash + 1) != std::string_view::npos;
    for (const StoredDataset& dataset : repository.client(client).datasets().good)
      offer(has_tier ? full_name(dataset.info) : client + "/" + std::string(name_of(dataset.info.tier)) + "/");
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::vector<std::string> complete_path(const Repository& repository, std::string_view dataset, std::string_view typed, std::size_t most) {
  std::vector<std::string> found;
  if (!typed.starts_with('/')) return found;
  const std::string folder(typed.substr(1, std::max<std::size_t>(typed.rfind('/'), 1) - 1));
  const DatasetSource source(select_dataset(repository, dataset));
  ManifestReader reader = source.manifest();
  reader.seek(folder);
  Entry entry;
  while (found.size() < most && reader.next(entry)) {
    const bool inside = folder.empty() || is_below(entry.path, folder);
    if (!inside && compare_paths(entry.path, folder) > 0) break;
    if (!inside || entry.path.empty() || parent_of(entry.path) != folder || escape(entry.path) != entry.path) continue;
    std::string path = "/" + entry.path + (entry.stat.type == FileType::folder ? "/" : "");
    if (path.starts_with(typed)) found.push_back(std::move(path));
  }
  return found;
}

}  // namespace syncropy

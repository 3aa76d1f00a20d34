#include "agent/access.hpp"

#include <algorithm>

namespace syncropy {
namespace {

std::vector<std::string> relative(const std::vector<std::string>& absolute) {
  std::vector<std::string> paths;
  for (const std::string& path : absolute) {
    std::string_view rest = path;
    while (rest.starts_with('/')) rest.remove_prefix(1);
    while (rest.ends_with('/')) rest.remove_suffix(1);
    paths.emplace_back(rest);
  }
  return paths;
}

}  // namespace

bool is_within(std::string_view path, std::string_view folder) {
  return folder.empty() || path == folder || (path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/');
}

ReadAccess::ReadAccess(const AgentPolicy& policy) : allowed_(relative(policy.read)), denied_(relative(policy.deny)) {}

bool ReadAccess::allows(std::string_view path) const {
  auto holds = [path](const std::string& folder) { return is_within(path, folder); };
  return std::any_of(allowed_.begin(), allowed_.end(), holds) && std::none_of(denied_.begin(), denied_.end(), holds);
}

bool ReadAccess::allows_as_ancestor(std::string_view path) const {
  return std::any_of(allowed_.begin(), allowed_.end(), [path](const std::string& folder) { return is_within(folder, path); });
}

}  // namespace syncropy

#include "scan/excludes.hpp"

#include <fnmatch.h>

#include <algorithm>

#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr std::size_t most_patterns = 10'000;
// Each folder of a walk looks at every place where a pattern may stand: those with '**' in them at many at once.
constexpr std::size_t most_any_depths = 4;    // of one pattern
constexpr std::size_t most_components = 4'096;  // of all patterns

std::vector<std::string> components_of(std::string_view path) {
  std::vector<std::string> components;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (end > at) components.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  return components;
}

}  // namespace

Excludes::Excludes(const std::vector<std::string>& patterns, const std::vector<std::string>& denied) : denied_(denied) {
  if (patterns.size() + denied.size() > most_patterns) {
    throw Error(ExitStatus::config, "there are more than 10,000 exclude patterns and denied paths", "name folders instead of files");
  }
  std::size_t components = 0;
  for (const std::string& text : patterns) {
    Pattern pattern;
    std::size_t any_depths = 0;
    pattern.folders_only = text.ends_with('/');
    if (!text.starts_with('/')) pattern.components.push_back({Kind::any_depth, {}});
    for (std::string& component : components_of(text)) {
      const bool any_depth = component == "**";
      if (any_depth && ++any_depths > most_any_depths)
        throw Error(ExitStatus::config, "exclude pattern '" + escape(text) + "' has more than four '**'", "name fewer folders of any depth in it");
      if (++components > most_components)
        throw Error(ExitStatus::config, "the exclude patterns have more than 4,096 components", "name folders instead of files");
      if (any_depth && !pattern.components.empty() && pattern.components.back().kind == Kind::any_depth) {
        pattern.components.back().text = component;
        continue;
      }
      const bool glob = component.find_first_of("*?[\\") != std::string::npos;
      pattern.components.push_back({any_depth ? Kind::any_depth : glob ? Kind::glob : Kind::literal, std::move(component)});
    }
    const bool named = std::any_of(pattern.components.begin(), pattern.components.end(),
                                   [](const Component& component) { return !component.text.empty(); });
    if (!named || text.find('\0') != std::string::npos) {
      throw Error(ExitStatus::config, "exclude pattern '" + escape(text) + "' can match no name", "remove it, or name a file or folder");
    }
    patterns_.push_back(std::move(pattern));
  }
  for (const std::string& path : denied) {
    Pattern pattern;
    for (std::string& component : components_of(path)) pattern.components.push_back({Kind::literal, std::move(component)});
    // Denying the root leaves nothing to list: denying() answers for every path.
    if (!pattern.components.empty()) patterns_.push_back(std::move(pattern));
  }
}

// '**' stands for no component too: where it could be next, so could what follows it.
void Excludes::add(Position& position, State state) const {
  position.push_back(state);
  const Pattern& pattern = patterns_[state.pattern];
  if (pattern.components[state.component].kind == Kind::any_depth && state.component + 1 < pattern.components.size()) {
    position.push_back({state.pattern, state.component + 1});
  }
}

Excludes::Position Excludes::at_root() const {
  Position position;
  for (std::uint32_t pattern = 0; pattern < patterns_.size(); ++pattern) add(position, {pattern, 0});
  return position;
}

Excludes::Position Excludes::below(const Position& above, const char* name) const {
  Position position;
  for (const State& state : above) {
    const Pattern& pattern = patterns_[state.pattern];
    const Component& component = pattern.components[state.component];
    if (component.kind == Kind::any_depth) {
      add(position, state);
      continue;
    }
    if (state.component + 1 == pattern.components.size()) continue;
    const bool matches = component.kind == Kind::literal ? component.text == name : ::fnmatch(component.text.c_str(), name, 0) == 0;
    if (matches) add(position, {state.pattern, state.component + 1});
  }
  std::sort(position.begin(), position.end());
  position.erase(std::unique(position.begin(), position.end()), position.end());
  return position;
}

bool Excludes::match(const Position& position, const char* name, bool folder) const {
  for (const State& state : position) {
    const Pattern& pattern = patterns_[state.pattern];
    if (state.component + 1 != pattern.components.size() || (pattern.folders_only && !folder)) continue;
    const Component& component = pattern.components[state.component];
    switch (component.kind) {
      case Kind::any_depth: return true;
      case Kind::literal:
        if (component.text == name) return true;
        break;
      case Kind::glob:
        if (::fnmatch(component.text.c_str(), name, 0) == 0) return true;
        break;
    }
  }
  return false;
}

std::string Excludes::denying(std::string_view path) const {
  for (const std::string& denied : denied_) {
    if (denied.empty() || (path.starts_with(denied) && (path.size() == denied.size() || path[denied.size()] == '/'))) {
      return denied.empty() ? "/" : denied;
    }
  }
  return {};
}

}  // namespace syncropy

// What people and other servers write: configurations, policies, patterns.

#include <algorithm>
#include <array>
#include <vector>

#include "config/document.hpp"
#include "config/policy.hpp"
#include "config/settings.hpp"
#include "model/entry.hpp"
#include "scan/excludes.hpp"
#include "tests/fuzz/targets.hpp"

namespace syncropy::fuzz {
namespace {

void walk(const ConfigNode& node, std::size_t depth) {
  expect(depth <= limits::config_depth + 1, "a document is no deeper than its bound");
  for (const ConfigNode& item : node.items) walk(item, depth + 1);
  for (const ConfigNode::Entry& entry : node.entries) {
    expect(node.find(entry.key) == &entry.value, "no key is there twice");
    walk(entry.value, depth + 1);
  }
}

void yaml(std::string_view bytes) {
  accepted({ExitStatus::config}, [&] { walk(parse_yaml(bytes, "FILE"), 0); });
}

void ini(std::string_view bytes) {
  accepted({ExitStatus::config}, [&] { walk(parse_ini(bytes, "FILE"), 0); });
}

// Files that are named need not be there; secrets are looked at by who reads them.
void settings(std::string_view bytes) {
  accepted({ExitStatus::config, ExitStatus::no_input, ExitStatus::refused}, [&] { static_cast<void>(parse_server_settings(bytes, "FILE")); });
}

void policy(std::string_view bytes) {
  for (const PolicyUse use : {PolicyUse::connections, PolicyUse::hooks})
    accepted({ExitStatus::config, ExitStatus::no_input, ExitStatus::refused}, [&] { static_cast<void>(parse_agent_policy(bytes, "FILE", use)); });
}

// Lines: patterns, then an empty line, then denied paths, then an empty line, then a path that is walked.
void excludes(std::string_view bytes) {
  if (bytes.size() > 20'000) return;  // a list message bounds them, and time is bounded by their number
  std::array<std::vector<std::string>, 3> parts;
  std::size_t part = 0;
  for (std::size_t at = 0; at < bytes.size() && part < 3;) {
    const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
    if (end == at)
      ++part;
    else
      parts[part].emplace_back(bytes.substr(at, end - at));
    at = end + 1;
  }
  accepted({ExitStatus::config}, [&] {
    const Excludes excludes(parts[0], parts[1]);
    for (const std::string& path : parts[2]) {
      if (why_not_a_path(path) != nullptr) continue;
      Excludes::Position position = excludes.at_root();
      std::size_t depth = 0;
      for (std::size_t at = 0; at <= path.size() && depth < 64; ++depth) {
        const std::size_t end = std::min(path.find('/', at), path.size());
        const std::string name = path.substr(at, end - at);
        const bool as_file = excludes.match(position, name.c_str(), false), as_folder = excludes.match(position, name.c_str(), true);
        expect(as_folder || !as_file, "what matches a file matches a folder of that name");
        position = excludes.below(position, name.c_str());
        expect(std::is_sorted(position.begin(), position.end()), "a position is sorted");
        at = end + 1;
      }
      static_cast<void>(excludes.denying(path));
    }
  });
}

constexpr std::array targets{Target{"yaml", yaml}, Target{"ini", ini},
                             Target{"settings", settings}, Target{"policy", policy}, Target{"excludes", excludes}};

}  // namespace

std::span<const Target> config_targets() { return targets; }

}  // namespace syncropy::fuzz

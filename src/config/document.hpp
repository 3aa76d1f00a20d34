#pragma once
// A configuration file as text with lines: what YAML and INI have in common before anybody knows what a key means.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::size_t config_bytes = 1U << 20;   // text of a configuration file
inline constexpr std::size_t config_depth = 16;         // nesting; what is meant here needs four
}  // namespace limits

struct ConfigNode {
  enum class Kind { empty, text, list, map };
  struct Entry;
  Kind kind = Kind::empty;
  int line = 1;
  std::string text;
  std::vector<ConfigNode> items;  // of a list
  std::vector<Entry> entries;     // of a map, in the file's order, no key twice
  // The value of `key`, or nullptr.
  [[nodiscard]] const ConfigNode* find(std::string_view key) const;
};

struct ConfigNode::Entry {
  std::string key;
  int line = 1;
  ConfigNode value;
};

// Opens FILE, a regular one, to be read. Throws Error(no_input) where it is missing, naming the man `page` that describes it,
// Error(config) where it cannot be read.
[[nodiscard]] Fd open_config(const std::string& file, std::string_view page);

// One YAML document whose top is a map. Aliases, tags and keys that are not plain text are refused. Throws Error(config)
// "FILE:LINE: …".
[[nodiscard]] ConfigNode parse_yaml(std::string_view text, const std::string& file);

// INI as Python's configparser reads it, without interpolation: `key = value` or `key: value`, lines that begin with # or ;
// are comments, keys are case-insensitive (lower case here), sections are not, a line indented deeper than its key continues the
// value, nothing twice. Gives a map of sections.
[[nodiscard]] ConfigNode parse_ini(std::string_view text, const std::string& file);

// The first line that is neither blank nor a comment begins with '['.
[[nodiscard]] bool looks_like_ini(std::string_view text);

// "FILE:LINE: WHAT".
[[nodiscard]] Error config_error(const std::string& file, int line, const std::string& what, std::string remedy);

}  // namespace syncropy

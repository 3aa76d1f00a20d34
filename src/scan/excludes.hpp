#pragma once
// What a listing leaves out: patterns of the config and the policy's denied paths, matched one component a folder.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace syncropy {

// Patterns are compiled once. Each is cut at its slashes, and a Position says how far every pattern has matched in one
// folder, so a name costs one comparison for each pattern that can still match there.
//
//   cache        any entry of that name           /var/cache   that path and nothing else
//   *.o          fnmatch(3) within a name         a/b          an entry b in a folder a, wherever that is
//   cache/       folders of that name only        /home/**/tmp any tmp below /home, directly or deeper
//   /srv/**      all that is in /srv, not /srv
//
// '*', '?' and '[…]' never match a slash; they match a leading dot; '\' takes the next character's meaning away.
class Excludes {
 public:
  // `patterns` as above; `denied` are plain paths without a leading slash. Throws Error(config) for a pattern without a
  // name in it, and for more than 10,000 of both together.
  Excludes(const std::vector<std::string>& patterns, const std::vector<std::string>& denied);

  struct State {
    std::uint32_t pattern, component;  // the next component of the pattern to match
    auto operator<=>(const State&) const = default;
  };
  using Position = std::vector<State>;  // sorted

  // The position in the root folder, and in a folder `name` of the folder at `above`. The latter holds whether or not the
  // folder itself is excluded: below a path that is wanted by name, patterns for its parents do not count.
  [[nodiscard]] Position at_root() const;
  [[nodiscard]] Position below(const Position& above, const char* name) const;

  // Whether entry `name` of the folder at `position` is left out. `folder`: it is one.
  [[nodiscard]] bool match(const Position& position, const char* name, bool folder) const;

  // The denied path that `path` is or lies in; "" for none.
  [[nodiscard]] std::string denying(std::string_view path) const;

 private:
  enum class Kind : std::uint8_t { literal, glob, any_depth };
  struct Component {
    Kind kind;
    std::string text;
  };
  struct Pattern {
    std::vector<Component> components;
    bool folders_only = false;
  };
  void add(Position& position, State state) const;

  std::vector<Pattern> patterns_;
  std::vector<std::string> denied_;
};

}  // namespace syncropy

#pragma once
// What a dataset is called and what is known of it as a whole. Every on-disk name of a dataset is built and parsed here.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"

namespace syncropy {

enum class Tier : std::uint8_t { hour = 1, day, week, month };
inline constexpr std::array all_tiers{Tier::hour, Tier::day, Tier::week, Tier::month};

[[nodiscard]] std::string_view name_of(Tier tier);  // "hour", "day", "week", "month": the folder's name
[[nodiscard]] std::optional<Tier> tier_from_name(std::string_view name);

// A client's name becomes a folder: 1 to 64 of [A-Za-z0-9._-], not starting with '.' or '-'.
[[nodiscard]] bool is_client_name(std::string_view name);

// "2026-11-22T190500Z"; with a suffix, from 2 to below 2^63: "2026-11-22T190500Z.57".
[[nodiscard]] std::string dataset_name(std::int64_t utc_seconds, std::uint64_t suffix = 1);
[[nodiscard]] bool is_dataset_name(std::string_view name);
// The UTC second in a dataset's name; none if it is not one.
[[nodiscard]] std::optional<std::int64_t> dataset_time(std::string_view name);
// The suffix in a dataset's name; 1 where it has none. `name` must be one.
[[nodiscard]] std::uint64_t dataset_suffix(std::string_view name);
// "2026-11-22T19:05:00Z" for people.
[[nodiscard]] std::string format_time(std::int64_t utc_seconds);

namespace limits {
inline constexpr std::size_t dataset_name_bytes = 38;  // a second, and the 19 digits of the highest suffix
inline constexpr std::size_t dataset_paths = 1'000;
inline constexpr std::size_t dataset_patterns = 1'000;
inline constexpr std::size_t dataset_pattern_bytes = 4'096;
}  // namespace limits

enum class Completeness : std::uint8_t { complete = 1, partial };

// The head of a manifest and the row of a catalog.
struct DatasetInfo {
  std::string client;
  Tier tier = Tier::hour;
  std::string name;
  std::uint64_t sequence = 0;  // 1, 2, 3 … per client, over all tiers; order and retention follow it
  Timestamp started, finished; // the server's clock, for people only
  Completeness completeness = Completeness::complete;
  bool acl = true;             // ACLs were read; a change of this setting fetches all attributes again
  std::uint64_t entries = 0;   // all types
  std::uint64_t files = 0;     // regular files
  std::uint64_t bytes = 0;     // sum of the sizes of regular files, each hard-link group once per name
  std::uint64_t new_files = 0; // regular files stored by this run
  std::uint64_t new_bytes = 0; // their content as stored
  std::uint64_t problems = 0;  // entries flagged unread
  // What was asked for: a manifest's alone, a catalog has none. Paths relative to the root, sorted, none inside another: what lies beside
  // them in a folder above was never looked at. At most limits::dataset_paths and limits::dataset_patterns.
  std::vector<std::string> paths, excludes;
  bool operator==(const DatasetInfo&) const = default;
};

}  // namespace syncropy

#pragma once
// The messages of a restore: syncropy-protocol(7), "Restoring". Readers throw Error(protocol) like those of wire/messages.hpp.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"
#include "model/restore.hpp"
#include "util/bytes.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::size_t place_bytes = 64U << 10;       // a place message is sent at about this size
inline constexpr std::size_t place_window = 4'096;          // entries but folders that were sent and have no outcome yet
inline constexpr std::size_t wants = 4'096;                 // ids in one want message
inline constexpr std::size_t restore_patterns = 2'000;       // of the restore and of the backup
inline constexpr std::size_t shortfall_bytes = 300;         // "attribute " and its name
inline constexpr std::uint64_t restore_folders = 20'000'000;  // of one restore
}  // namespace limits

void put(ByteWriter& out, const RestoreRules& message);
[[nodiscard]] RestoreRules get_restore_rules(std::string_view payload);

// The answer to the rules: the target can be had.
struct RestoreReady {
  bool target_is_empty = false;  // nothing can be in the way
};
void put(ByteWriter& out, const RestoreReady& message);
[[nodiscard]] RestoreReady get_restore_ready(std::string_view payload);

// The payload of a place message is a sequence of these; the first path of a message is whole.
struct PlacedEntry {
  std::uint32_t id = 0;
  bool on_the_way = false;  // a folder that leads to what is restored: made where it is missing, else left as it is
  Entry entry;
};
void put(ByteWriter& out, std::uint32_t id, bool on_the_way, const Entry& entry, std::string_view previous_path);
[[nodiscard]] PlacedEntry get_placed_entry(ByteReader& in, std::string_view previous_path);

// Entries whose content is wanted, in the order in which it is to come.
void put_wants(ByteWriter& out, const std::vector<std::uint32_t>& ids);
[[nodiscard]] std::vector<std::uint32_t> get_wants(std::string_view payload);

// After the last data message of an entry, or in place of them.
struct ContentEnd {
  std::uint32_t id = 0;
  std::uint32_t code = 0;   // 0: all was sent; else errno: what is stored of it cannot be read
};
void put(ByteWriter& out, const ContentEnd& message);
[[nodiscard]] ContentEnd get_content_end(std::string_view payload);

// The payload of an outcome message is a sequence of these.
struct EntryOutcome {
  std::uint32_t id = 0;
  RestoreOutcome outcome;
};
void put(ByteWriter& out, const EntryOutcome& message);
[[nodiscard]] EntryOutcome get_entry_outcome(ByteReader& in);

// Something that was not in the dataset: gone (in a dry run: it would go), or, with a code, in the way.
struct Removed {
  std::string path;
  std::uint32_t code = 0;
};
void put(ByteWriter& out, const Removed& message);
[[nodiscard]] Removed get_removed(std::string_view payload);

}  // namespace syncropy

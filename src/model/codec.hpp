#pragma once
// The bytes of an entry: one codec, written on the wire by the agent and in the manifest by the server.
// syncropy-protocol(7) and syncropy-repository(5) specify it under "Entry encoding"; tests/golden pins it.
// Readers throw through their ByteReader when a bound of model/limits.hpp or a rule of entry.hpp is broken.

#include <string>
#include <string_view>

#include "model/entry.hpp"
#include "util/bytes.hpp"

namespace syncropy {

// A path as the count of leading bytes it shares with `previous`, and the rest.
void put_path(ByteWriter& out, std::string_view path, std::string_view previous);
// Checks why_not_a_path, and nothing about order: that is for whoever reads a sorted sequence.
[[nodiscard]] std::string get_path(ByteReader& in, std::string_view previous);

void put_stat(ByteWriter& out, const Stat& stat);
[[nodiscard]] Stat get_stat(ByteReader& in);

// `type` decides which details can be there.
void put_details(ByteWriter& out, const Details& details, FileType type);
[[nodiscard]] Details get_details(ByteReader& in, const Stat& stat);

// path, stat, flags, details, digest.
void put_entry(ByteWriter& out, const Entry& entry, std::string_view previous_path);
[[nodiscard]] Entry get_entry(ByteReader& in, std::string_view previous_path);

}  // namespace syncropy

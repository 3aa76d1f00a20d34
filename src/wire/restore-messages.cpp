#include "wire/restore-messages.hpp"

#include "model/codec.hpp"
#include "model/limits.hpp"
#include "wire/messages.hpp"
#include "wire/payload.hpp"

namespace syncropy {
namespace {

std::uint8_t get_byte_at_most(ByteReader& in, std::uint8_t most) {
  const std::uint8_t value = in.byte();
  if (value > most) in.reject("holds a value of " + std::to_string(value) + " where " + std::to_string(most) + " is the highest");
  return value;
}

void put_mappings(ByteWriter& out, const std::vector<AccountMapping>& mappings) {
  out.put_unsigned(mappings.size());
  for (const AccountMapping& mapping : mappings) {
    out.put_string(mapping.from);
    out.put_string(mapping.to);
  }
}

std::vector<AccountMapping> get_mappings(ByteReader& in) {
  std::vector<AccountMapping> mappings(in.unsigned_at_most(limits::account_mappings));
  for (AccountMapping& mapping : mappings) {
    mapping.from = in.string_at_most(limits::account_name_bytes);
    mapping.to = in.string_at_most(limits::account_name_bytes);
  }
  return mappings;
}

}  // namespace

void put(ByteWriter& out, const RestoreRules& message) {
  out.put_string(message.target);
  out.put_byte(static_cast<std::uint8_t>(message.existing));
  out.put_byte(static_cast<std::uint8_t>((message.remove_others ? 1 : 0) | (message.dry_run ? 2 : 0) | (message.numeric ? 4 : 0)));
  put_mappings(out, message.users);
  put_mappings(out, message.groups);
  out.put_unsigned(message.excludes.size());
  for (const std::string& pattern : message.excludes) out.put_string(pattern);
  out.put_unsigned(message.whole.size());
  for (const std::string& folder : message.whole) out.put_string(folder);
}

RestoreRules get_restore_rules(std::string_view payload) {
  ByteReader in = reader_of(payload, "a restore message");
  RestoreRules message;
  message.target = in.string_at_most(limits::path_bytes);
  if (const char* why = why_not_a_path(message.target)) in.reject(std::string("names a target that ") + why);
  message.existing = static_cast<Existing>(get_byte_at_most(in, 4));
  if (message.existing < Existing::fail) in.reject("holds no rule for what exists");
  const std::uint8_t flags = get_byte_at_most(in, 7);
  message.remove_others = flags & 1;
  message.dry_run = flags & 2;
  message.numeric = flags & 4;
  message.users = get_mappings(in);
  message.groups = get_mappings(in);
  message.excludes.resize(in.unsigned_at_most(limits::restore_patterns));
  for (std::string& pattern : message.excludes) pattern = in.string_at_most(limits::pattern_bytes);
  message.whole.resize(in.unsigned_at_most(limits::list_paths));
  for (std::string& folder : message.whole) {
    folder = in.string_at_most(limits::path_bytes);
    if (why_not_a_path(folder) != nullptr) in.reject("names a folder that cannot be");
  }
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const RestoreReady& message) { out.put_byte(message.target_is_empty ? 1 : 0); }

RestoreReady get_restore_ready(std::string_view payload) {
  ByteReader in = reader_of(payload, "the agent's answer to a restore");
  const RestoreReady message{get_byte_at_most(in, 1) == 1};
  in.expect_end();
  return message;
}

void put(ByteWriter& out, std::uint32_t id, bool on_the_way, const Entry& entry, std::string_view previous_path) {
  out.put_unsigned(id);
  out.put_byte(on_the_way ? 1 : 0);
  put_entry(out, entry, previous_path);
}

PlacedEntry get_placed_entry(ByteReader& in, std::string_view previous_path) {
  PlacedEntry placed;
  placed.id = get_u32(in);
  placed.on_the_way = get_byte_at_most(in, 1) == 1;
  placed.entry = get_entry(in, previous_path);
  if (placed.on_the_way && placed.entry.stat.type != FileType::folder) in.reject("has something on the way that is no folder");
  return placed;
}

void put_wants(ByteWriter& out, const std::vector<std::uint32_t>& ids) {
  out.put_unsigned(ids.size());
  for (std::uint32_t id : ids) out.put_unsigned(id);
}

std::vector<std::uint32_t> get_wants(std::string_view payload) {
  ByteReader in = reader_of(payload, "a want message");
  std::vector<std::uint32_t> ids(in.unsigned_at_most(limits::wants));
  for (std::uint32_t& id : ids) id = get_u32(in);
  in.expect_end();
  return ids;
}

void put(ByteWriter& out, const ContentEnd& message) {
  out.put_unsigned(message.id);
  out.put_unsigned(message.code);
}

ContentEnd get_content_end(std::string_view payload) {
  ByteReader in = reader_of(payload, "the end of a file's content");
  ContentEnd message;
  message.id = get_u32(in);
  message.code = get_u32(in);
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const EntryOutcome& message) {
  out.put_unsigned(message.id);
  out.put_byte(static_cast<std::uint8_t>(message.outcome.result));
  out.put_unsigned(message.outcome.shortfalls.size());
  for (const Shortfall& shortfall : message.outcome.shortfalls) {
    out.put_string(shortfall.what);
    out.put_unsigned(shortfall.code);
  }
}

EntryOutcome get_entry_outcome(ByteReader& in) {
  EntryOutcome message;
  message.id = get_u32(in);
  const std::uint8_t result = get_byte_at_most(in, static_cast<std::uint8_t>(RestoreResult::failed));
  if (result == 0) in.reject("holds no result");
  message.outcome.result = static_cast<RestoreResult>(result);
  message.outcome.shortfalls.resize(in.unsigned_at_most(limits::shortfalls));
  for (Shortfall& shortfall : message.outcome.shortfalls) {
    shortfall.what = in.string_at_most(limits::shortfall_bytes);
    shortfall.code = get_u32(in);
  }
  return message;
}

void put(ByteWriter& out, const Removed& message) {
  put_path(out, message.path, {});
  out.put_unsigned(message.code);
}

Removed get_removed(std::string_view payload) {
  ByteReader in = reader_of(payload, "a removed message");
  Removed message;
  message.path = get_path(in, {});
  message.code = get_u32(in);
  in.expect_end();
  return message;
}

}  // namespace syncropy

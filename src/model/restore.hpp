#pragma once
// What a restore is asked to do with what it meets, and what became of each entry: said on the wire, decided by src/restore.

#include <cstdint>
#include <string>
#include <vector>

namespace syncropy {

// What to do where something else than the entry is at its place. Folders are no conflict: they are entered.
enum class Existing : std::uint8_t {
  fail = 1,  // the default: nothing at all is touched
  skip,      // leave what is there as it is
  replace,
  newer,     // replace what has an older mtime than the entry
};

// `from` and `to` are account names, or numbers in decimal digits.
struct AccountMapping {
  std::string from, to;
  bool operator==(const AccountMapping&) const = default;
};

struct RestoreRules {
  std::string target;                          // the folder that stands for the dataset's root; relative to the machine's, "" is the root itself
  Existing existing = Existing::fail;
  bool remove_others = false;                  // what lies in a selected folder and is not in the dataset, unless `excludes` matches it
  std::vector<std::string> whole;              // with `remove_others`: the folders that the dataset holds whole; nothing is removed elsewhere
  bool dry_run = false;                        // compare, touch nothing
  bool numeric = false;                        // owners by number alone
  std::vector<AccountMapping> users, groups;   // before anything else is looked up
  std::vector<std::string> excludes;           // patterns as in syncropy.yaml(5); the sender leaves matching entries out itself
  bool operator==(const RestoreRules&) const = default;
};

enum class RestoreResult : std::uint8_t {
  created = 1,  // there was nothing (dry run: it would be created, and so on)
  replaced,     // something else was there
  adjusted,     // the content was right, attributes were not
  same,         // all of it was there already
  kept,         // something else is there and stays: Existing::skip or newer
  conflict,     // something else is there: Existing::fail
  failed,       // see the shortfalls
};

// Something of an entry that could not be given back.
struct Shortfall {
  std::string what;        // "owner", "mode", "access ACL", "attribute user.comment", "content", "hard link", …: for people
  std::uint32_t code = 0;  // errno of the restoring machine
  bool operator==(const Shortfall&) const = default;
};

struct RestoreOutcome {
  RestoreResult result = RestoreResult::same;
  std::vector<Shortfall> shortfalls;  // at most limits::shortfalls; with `failed` the first says why
  bool operator==(const RestoreOutcome&) const = default;
};

namespace limits {
inline constexpr std::size_t shortfalls = 32;
inline constexpr std::size_t account_mappings = 1'000;
}  // namespace limits

}  // namespace syncropy

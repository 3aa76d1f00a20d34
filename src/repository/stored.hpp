#pragma once
// What a tree has for one entry, held against what its manifest says.

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "model/entry.hpp"
#include "repository/damage.hpp"

namespace syncropy {

struct StoredState {
  std::optional<DamageKind> damage;
  int code = 0;  // the errno where it is `unreadable`
};

// Of an entry that has a stored name: type, size, permissions, modification time as far as a filesystem can hold it, and where a symbolic link points. `st` is filled where
// there is something of that name. Error(io) where it could not be looked at now (out of descriptors or memory).
[[nodiscard]] StoredState check_name(int folder, const std::string& name, const Entry& entry, struct stat& st);

// Reads a regular file as the disk has it, leaving nothing of it in the page cache, and compares with the entry's digest. `on_bytes` is told
// how many bytes were read, every few MiB; what it throws ends the call. Errors as of check_name().
[[nodiscard]] StoredState check_content(int folder, const std::string& name, const Entry& entry,
                                        const std::function<void(std::uint64_t bytes)>& on_bytes);

// How many names a folder holds. Throws SystemError(data).
[[nodiscard]] std::uint64_t count_names(int folder);

}  // namespace syncropy

#pragma once
// Renaming that never replaces anything, on every filesystem.

#include <string>

namespace syncropy {

// Renames `name` beneath `from` to `new_name` beneath `to`; -1 and errno as renameat2(2) with RENAME_NOREPLACE, EEXIST where something is there.
// Some filesystems do not know that flag (CephFS; ZFS before 2.2) and answer EINVAL: there a look comes first, so the caller holds the lock of
// the client whose folders these are.
[[nodiscard]] int rename_exclusive(int from, const std::string& name, int to, const std::string& new_name);

// A test has renameat2(2) answer as such a filesystem does.
using RenameCall = int (*)(int from, const char* name, int to, const char* new_name, unsigned flags);
RenameCall replace_rename_call(RenameCall call);  // returns the one before

}  // namespace syncropy

#pragma once
// The programs that a policy's `commands: named` allows.

#include <sys/types.h>

#include <string>

namespace syncropy {

// The absolute path, without symbolic links, of the program that `name` stands for in `folder`. Throws Error(refused) unless `name` is a plain
// name (letters, digits, '.', '_', '-', no dot first), and program, folder and every folder above belong to root (or to `owner`, who runs it) and
// nobody else may write them. Above the hooks folder a folder with the sticky bit will do: others cannot rename there what is not theirs. So
// whoever is neither root nor `owner` cannot put another program into the place of this one, not even while this looks.
[[nodiscard]] std::string find_hook(const std::string& folder, const std::string& name, uid_t owner);

}  // namespace syncropy

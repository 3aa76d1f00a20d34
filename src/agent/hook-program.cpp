#include "agent/hook-program.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/ownership.hpp"

namespace syncropy {
namespace {

bool is_hook_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

}  // namespace

std::string find_hook(const std::string& folder, const std::string& name, uid_t owner) {
  const std::string remedy = "put a program of that name, owned by root and writable by root alone, into " + escape(folder);
  if (!is_hook_name(name))
    throw Error(ExitStatus::refused, "the agent's policy runs named programs only, and '" + escape(name) + "' is not a plain name",
                "name a program in its hooks folder " + escape(folder) + ", or set 'commands: any' in the agent's policy");
  const std::string real = resolved_path(folder);
  if (real.empty()) throw SystemError(ExitStatus::refused, errno, "find the hooks folder", folder, remedy);
  const std::string path = (real == "/" ? "" : real) + "/" + name;
  if (const std::string above = changeable_above(real, owner); !above.empty())
    throw Error(ExitStatus::refused, "others than root may write " + escape(above) + ", which the hooks folder is in", "chown root " + escape(above) + " && chmod go-w " + escape(above) + ", or choose another 'hooks_folder'");
  struct stat st{};
  struct stat file{};
  if (::lstat(real.c_str(), &st) != 0 || ::lstat(path.c_str(), &file) != 0) throw SystemError(ExitStatus::refused, errno, "find the command", path, remedy);
  if (!S_ISREG(file.st_mode) || ::access(path.c_str(), X_OK) != 0)
    throw Error(ExitStatus::refused, escape(path) + " is not a program the agent may execute", remedy);
  if (!S_ISDIR(st.st_mode) || !only_owner_writes(st, owner) || !only_owner_writes(file, owner))
    throw Error(ExitStatus::refused, "others than root may write " + escape(path) + " or its folder", remedy);
  return path;
}

}  // namespace syncropy

#include "agent/hook-program.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

bool is_hook_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

bool only_its_owner_writes(const struct stat& st, uid_t owner) {
  return (st.st_uid == 0 || st.st_uid == owner) && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// A POSIX ACL that lets others write shows in the group's bits, which are its mask.
bool keeps_what_is_in_it(const struct stat& st, uid_t owner) {
  return only_its_owner_writes(st, owner) || ((st.st_uid == 0 || st.st_uid == owner) && (st.st_mode & S_ISVTX) != 0);
}

std::string resolved(const std::string& folder, const std::string& remedy) {
  const std::unique_ptr<char, void (*)(void*)> path(::realpath(folder.c_str(), nullptr), ::free);
  if (!path) throw SystemError(ExitStatus::refused, errno, "find the hooks folder", folder, remedy);
  return path.get();
}

}  // namespace

std::string find_hook(const std::string& folder, const std::string& name, uid_t owner) {
  const std::string remedy = "put a program of that name, owned by root and writable by root alone, into " + escape(folder);
  if (!is_hook_name(name))
    throw Error(ExitStatus::refused, "the agent's policy runs named programs only, and '" + escape(name) + "' is not a plain name",
                "name a program in its hooks folder " + escape(folder) + ", or set 'commands: any' in the agent's policy");
  const std::string real = resolved(folder, remedy);
  const std::string path = real + (real == "/" ? "" : "/") + name;
  struct stat st{};
  for (std::size_t end = 0; end != std::string::npos && end < real.size();) {
    end = real.find('/', end + 1);
    const std::string above = end == std::string::npos ? "/" : real.substr(0, end);
    if (::lstat(above.c_str(), &st) != 0) throw SystemError(ExitStatus::refused, errno, "look at", above, remedy);
    if (!keeps_what_is_in_it(st, owner))
      throw Error(ExitStatus::refused, "others than root may write " + escape(above) + ", which the hooks folder is in", "chown root " + escape(above) + " && chmod go-w " + escape(above) + ", or choose another 'hooks_folder'");
  }
  struct stat file{};
  if (::lstat(real.c_str(), &st) != 0 || ::lstat(path.c_str(), &file) != 0) throw SystemError(ExitStatus::refused, errno, "find the command", path, remedy);
  if (!S_ISREG(file.st_mode) || ::access(path.c_str(), X_OK) != 0)
    throw Error(ExitStatus::refused, escape(path) + " is not a program the agent may execute", remedy);
  if (!S_ISDIR(st.st_mode) || !only_its_owner_writes(st, owner) || !only_its_owner_writes(file, owner))
    throw Error(ExitStatus::refused, "others than root may write " + escape(path) + " or its folder", remedy);
  return path;
}

}  // namespace syncropy

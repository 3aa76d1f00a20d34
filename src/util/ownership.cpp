#include "util/ownership.hpp"

#include <cstdlib>
#include <memory>

#include "util/error.hpp"

namespace syncropy {

bool only_owner_writes(const struct stat& st, uid_t owner) {
  return (st.st_uid == 0 || st.st_uid == owner) && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

std::string changeable_above(const std::string& path, uid_t owner) {
  for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string folder = end == 0 ? "/" : path.substr(0, end);
    struct stat st{};
    if (::lstat(folder.c_str(), &st) != 0) throw_errno(ExitStatus::refused, "look at", folder);
    const bool sticky = (st.st_uid == 0 || st.st_uid == owner) && (st.st_mode & S_ISVTX) != 0;
    if (!S_ISDIR(st.st_mode) || (!sticky && !only_owner_writes(st, owner))) return folder;
  }
  return {};
}

std::string resolved_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), ::free);
  return real ? real.get() : "";
}

}  // namespace syncropy

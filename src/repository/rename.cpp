#include "repository/rename.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace syncropy {
namespace {

RenameCall rename_call = &::renameat2;

}  // namespace

RenameCall replace_rename_call(RenameCall call) { return std::exchange(rename_call, call); }

int rename_exclusive(int from, const std::string& name, int to, const std::string& new_name) {
  if (rename_call(from, name.c_str(), to, new_name.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  struct stat st{};
  if (::fstatat(to, new_name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EEXIST;
    return -1;
  }
  if (errno != ENOENT) return -1;
  return ::renameat(from, name.c_str(), to, new_name.c_str());
}

}  // namespace syncropy

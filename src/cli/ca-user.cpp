#include "cli/ca-user.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "util/error.hpp"

namespace syncropy {

void make_ca_folder(const std::string& folder) {
  if (struct stat st{}; ::geteuid() != 0 || ::lstat(folder.c_str(), &st) == 0) return;
  const Account account = account_of("syncropy-ca");
  if (::mkdir(folder.c_str(), 0700) != 0 || ::chown(folder.c_str(), account.user, account.group) != 0) throw_errno(ExitStatus::io, "make the CA's folder", folder);
}

CaUser::CaUser(const std::string& folder) {
  struct stat st{};
  if (::geteuid() == 0 && ::stat(folder.c_str(), &st) == 0 && st.st_uid != 0) acting_ = std::make_unique<ActingAs>(Account{st.st_uid, st.st_gid});
}

}  // namespace syncropy

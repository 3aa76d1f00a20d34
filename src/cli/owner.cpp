#include "cli/owner.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "util/error.hpp"

namespace syncropy {
namespace {

constexpr std::size_t account_record_bytes = 65'536;

// The groups of the account; of a number without one, the repository's own alone.
bool take_groups(const struct stat& owner) {
  std::vector<char> buffer(account_record_bytes);
  passwd record{};
  passwd* account = nullptr;
  if (::getpwuid_r(owner.st_uid, &record, buffer.data(), buffer.size(), &account) == 0 && account != nullptr)
    return ::initgroups(account->pw_name, account->pw_gid) == 0 && ::setgid(account->pw_gid) == 0;
  return ::setgroups(0, nullptr) == 0 && ::setgid(owner.st_gid) == 0;
}

}  // namespace

void become_owner_of(const std::string& repository) {
  struct stat owner{};
  if (::geteuid() != 0 || ::stat(repository.c_str(), &owner) != 0 || owner.st_uid == 0) return;
  if (!take_groups(owner) || ::setuid(owner.st_uid) != 0)
    throw_errno(ExitStatus::refused, "become the owner of", repository, "run this as the user that the repository belongs to");
  if (::setuid(0) == 0) throw Error(ExitStatus::internal, "root's privileges could not be given up");
}

}  // namespace syncropy

#include "util/acting-as.hpp"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {

Account account_of(const std::string& name) {
  if (const passwd* user = ::getpwnam(name.c_str())) return {user->pw_uid, user->pw_gid};
  throw Error(ExitStatus::config, "there is no user '" + escape(name) + "'", "'systemd-sysusers' makes the users of the packages; useradd(8) makes others");
}

bool is_account(const std::string& name) { return ::getpwnam(name.c_str()) != nullptr; }

std::string name_of(const Account& account) {
  const passwd* user = ::getpwuid(account.user);
  return user != nullptr ? user->pw_name : std::to_string(account.user);
}

ActingAs::ActingAs(const Account& account) {
  if (::geteuid() != 0) return;
  const std::string name = "user " + std::to_string(account.user);
  const int count = ::getgroups(0, nullptr);
  groups_.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  if (count < 0 || ::getgroups(count, groups_.data()) < 0) throw_errno(ExitStatus::internal, "ask for", "the groups of this process");
  group_ = ::getegid();
  // In this order: once the user has changed, the groups cannot.
  if (::setgroups(1, &account.group) != 0 || ::setegid(account.group) != 0) throw_errno(ExitStatus::refused, "take the groups of", name);
  acting_ = true;
  if (::seteuid(account.user) == 0) return;
  const int code = errno;
  if (::setegid(group_) != 0 || ::setgroups(groups_.size(), groups_.data()) != 0) std::abort();
  throw SystemError(ExitStatus::refused, code, "act as", name);
}

ActingAs::~ActingAs() {
  if (!acting_) return;
  if (::seteuid(0) != 0 || ::setegid(group_) != 0 || ::setgroups(groups_.size(), groups_.data()) != 0) std::abort();
}

}  // namespace syncropy

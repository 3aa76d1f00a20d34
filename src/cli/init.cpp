#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "util/acting-as.hpp"

namespace syncropy {
namespace {

constexpr const char* service_user = "syncropy";  // of syncropy-server@.service

// Whose a repository becomes that root makes: a folder's that was given away already, else the service's.
std::optional<Account> owner_of_new(const std::string& repository, const std::string& wanted) {
  if (!wanted.empty()) return account_of(wanted);
  struct stat st{};
  if (::geteuid() != 0) return std::nullopt;
  if (::stat(repository.c_str(), &st) == 0 && st.st_uid != 0) return Account{st.st_uid, st.st_gid};
  return is_account(service_user) ? std::optional(account_of(service_user)) : std::nullopt;
}

}  // namespace

ExitStatus verb_init(const std::string& config, const std::string& owner) {
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::none);
  const std::optional<Account> account = owner_of_new(settings.repository, owner);
  Repository::create(settings.repository, account);
  const std::string whose = account ? ", for the user " + name_of(*account) : "";
  std::printf("made the repository %s%s\n", settings.repository.c_str(), whose.c_str());
  return ExitStatus::success;
}

}  // namespace syncropy

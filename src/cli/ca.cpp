#include "enrol/ca.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cli/ca-user.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "enrol/identity-files.hpp"
#include "model/dataset.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

IdentityPlace place_of(const CaArguments& arguments) {
  if (arguments.keys.empty()) return system_place("server");
  std::optional<FileOwner> owner;
  if (!arguments.owner.empty()) owner = FileOwner{account_of(arguments.owner).user, account_of(arguments.owner).group};
  return place_in(arguments.keys, "server", owner);
}

// As others call it: with its domain, where the resolver knows one.
std::string full_host_name() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_CANONNAME;
  std::string name = host;
  if (::getaddrinfo(host, nullptr, &hints, &found) == 0) {
    if (found->ai_canonname != nullptr && std::string_view(found->ai_canonname) != "localhost") name = found->ai_canonname;
    ::freeaddrinfo(found);
  }
  return name;
}

std::vector<std::string> checked_names(std::vector<std::string> names) {
  if (names.empty()) names.push_back(full_host_name());
  if (names.size() > limits::certificate_names) throw Error(ExitStatus::usage, std::to_string(names.size()) + " names are more than a certificate takes here", "name at most " + std::to_string(limits::certificate_names));
  for (const std::string& name : names)
    if (!is_certificate_name(name)) throw Error(ExitStatus::usage, "'" + escape(name) + "' cannot stand in a certificate", "use a host name or an address");
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + escape(name);
  return text;
}

std::string state_of(const IssuedEntry& entry, std::time_t now) { return entry.revoked ? "revoked" : entry.to <= now ? "expired" : is_due(entry.from, entry.to, now) ? "due" : "valid"; }

bool is_same_file(const std::string& left, const std::string& right) {
  struct stat a{}, b{};
  return ::stat(left.c_str(), &a) == 0 && ::stat(right.c_str(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Other places where a configuration that believes this CA looks for the list: its key sslcrl, or beside a copy of the root.
void write_where_configured(const IdentityPlace& place, const std::string& list) {
  for (const std::string& file : configuration_files()) {
    try {
      for (const ClientSettings& client : load_server_settings(file, Secrets::none).clients) {
        if (client.ssl_revoked.empty() || client.ssl_revoked.starts_with("credential:") || is_same_file(client.ssl_revoked, place.revoked_file())) continue;
        if (!is_same_root(client.ssl_ca, place.root_file())) continue;
        write_file(client.ssl_revoked, list);
        fmt::print("written too: {}, which {} names\n", escape(client.ssl_revoked), escape(file));
      }
    } catch (const Error& error) {
      log(Priority::warning, "whether " + escape(file) + " names another list of revoked certificates cannot be told: " + error.line());
    }
  }
}

}  // namespace

ExitStatus verb_ca_init(const CaArguments& arguments) {
  const std::vector<std::string> names = checked_names(arguments.names);
  const IdentityPlace place = place_of(arguments);
  if (!arguments.force && ::access(place.kept_in().c_str(), F_OK) == 0)
    throw Error(ExitStatus::conflict, "this server has a key already: " + escape(place.kept_in()), "--force replaces it, and keeps the old one beside it as NAME.old");
  prepare_place(place);
  make_ca_folder(arguments.folder);
  Identity identity;
  {
    const CaUser user(arguments.folder);
    identity = make_ca(arguments.folder, names, std::time(nullptr));
  }
  write_identity(place, identity, true);
  wipe(identity.key);
  fmt::print("made a CA in {}, and a certificate of this server for {}, until {}\n", escape(arguments.folder), joined(names), format_time(identity.expires));
  fmt::print("each client in a configuration (syncropy.yaml(5)) gets\n\n    sslpem: {}\n    sslca: {}\n\n", place.setting(), place.root_file());
  if (arguments.keys.empty())
    fmt::print("next: systemctl enable --now syncropy-enroll.socket syncropy-ca.timer\n      syncropy enroll CLIENT\nKeep a copy of {} where nobody else can read it.\n", escape(arguments.folder));
  return ExitStatus::success;
}

ExitStatus verb_ca_list(const CaArguments& arguments) {
  const CaUser user(arguments.folder);
  const CaFolder ca(arguments.folder);
  const std::time_t now = std::time(nullptr);
  const std::vector<IssuedEntry> entries = ca.issued();
  const std::vector<TokenEntry> tokens = ca.tokens();
  if (arguments.json) {
    for (const IssuedEntry& entry : entries)
      fmt::print(R"({{"name":"{}","part":"{}","serial":"{}","from":"{}","expires":"{}","state":"{}","names":["{}"]}})" "\n", entry.names.front(), entry.part == Part::agent ? "agent" : "server",
                 entry.serial, format_time(entry.from), format_time(entry.to), state_of(entry, now), fmt::join(entry.names, "\",\""));
    for (const TokenEntry& token : tokens)
      if (!token.used && token.expires > now)
        fmt::print(R"({{"name":"{}","part":"token","expires":"{}","names":["{}"]}})" "\n", token.names.front(), format_time(token.expires), fmt::join(token.names, "\",\""));
    return ExitStatus::success;
  }
  std::size_t width = 4;
  for (const IssuedEntry& entry : entries) width = std::max(width, entry.names.front().size());
  for (const TokenEntry& token : tokens) width = std::max(width, token.names.front().size());
  fmt::print("{:<{}}  {:<6}  {:<8}  {:<20}  {:<32}  {}\n", "NAME", width, "PART", "STATE", "EXPIRES", "SERIAL", "ALSO CALLED");
  for (const IssuedEntry& entry : entries)
    fmt::print("{:<{}}  {:<6}  {:<8}  {:<20}  {:<32}  {}\n", entry.names.front(), width, entry.part == Part::agent ? "agent" : "server", state_of(entry, now), format_time(entry.to), entry.serial,
               joined({entry.names.begin() + 1, entry.names.end()}));
  for (const TokenEntry& token : tokens)
    if (!token.used && token.expires > now)
      fmt::print("{:<{}}  {:<6}  {:<8}  {:<20}  {:<32}  {}\n", token.names.front(), width, "token", "open", format_time(token.expires), "-", joined({token.names.begin() + 1, token.names.end()}));
  const Authority authority = ca.authority();
  fmt::print("the CA itself: until {}\n", format_time(authority.to()));
  return ExitStatus::success;
}

ExitStatus verb_ca_renew(const CaArguments& arguments) {
  const IdentityPlace place = place_of(arguments);
  prepare_place(place);
  ServerRenewal renewal;
  {
    const CaUser user(arguments.folder);
    renewal = renew_server(CaFolder(arguments.folder), arguments.force, std::time(nullptr));
  }
  if (!renewal.identity) {
    log(Priority::info, "this server's certificate is good until " + format_time(renewal.expires) + ": it is not due");
    return ExitStatus::success;
  }
  write_identity(place, *renewal.identity, false);
  wipe(renewal.identity->key);
  log(Priority::notice, std::string("this server's certificate") + (renewal.root ? " and that of the CA are" : " is") + " renewed, until " + format_time(renewal.expires), {}, message_id::certificate_renewed);
  return ExitStatus::success;
}

ExitStatus verb_ca_revoke(const CaArguments& arguments) {
  const IdentityPlace place = place_of(arguments);
  prepare_file(place.revoked_file());
  ExitStatus status = ExitStatus::success;
  std::string list;
  for (const std::string& name : arguments.names) {
    Revocation revocation;
    {
      const CaUser user(arguments.folder);
      revocation = revoke(CaFolder(arguments.folder), name, std::time(nullptr));
    }
    list = revocation.revoked;
    if (revocation.token) fmt::print("the open token for {} is worthless now\n", escape(name));
    for (const IssuedEntry& entry : revocation.entries)
      log(Priority::notice, "revoked the certificate " + entry.serial + " of '" + escape(entry.names.front()) + "', which was good until " + format_time(entry.to),
          {{"SYNCROPY_CLIENT", escape(entry.names.front())}, {"SYNCROPY_SERIAL", entry.serial}});
    if (!revocation.entries.empty() || revocation.token) continue;
    log(Priority::error, "nothing that is valid was issued to '" + escape(name) + "': 'syncropy ca list' shows what is");
    status = ExitStatus::no_input;
  }
  write_file(place.revoked_file(), list);
  write_where_configured(place, list);
  return status;
}

}  // namespace syncropy

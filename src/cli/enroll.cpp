#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "cli/ca-user.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "enrol/ca.hpp"
#include "enrol/service.hpp"
#include "model/dataset.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "sd/service.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

std::chrono::seconds parse_life(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, text.data() + text.size());
  const std::int64_t seconds = unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3'600 : unit == "d" ? 86'400 : 0;
  if (code != std::errc() || seconds == 0 || number < 1 || number > longest_token_life || number * seconds > longest_token_life)
    throw Error(ExitStatus::usage, "'" + escape(text) + "' is no time that a token can be good for", "write --valid 15m, 1h or 7d, at most " + std::to_string(longest_token_life / 86'400) + "d");
  return std::chrono::seconds(number * seconds);
}

void add(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

// Where configurations say that the client is, and what its certificate has to be called.
void add_configured(std::vector<std::string>& names, const std::string& file, const std::string& wanted, bool must) {
  try {
    for (const ClientSettings& client : load_server_settings(file, Secrets::none).clients) {
      if (client.name != wanted) continue;
      for (const std::string& name : {client.ssl_identity, client.host, client.restore_host})
        if (is_certificate_name(name)) add(names, name);
    }
  } catch (const Error& error) {
    if (must) throw;
    log(Priority::warning, "what " + escape(file) + " says of the client cannot be told: " + error.line());
  }
}

}  // namespace

ExitStatus verb_enroll(const std::string& config, const EnrollArguments& arguments) {
  std::vector<std::string> names{arguments.client};
  for (const std::string& name : arguments.names) add(names, name);
  if (!config.empty()) add_configured(names, configuration_file(config), arguments.client, true);
  else
    for (const std::string& file : configuration_files()) add_configured(names, file, arguments.client, false);
  for (const std::string& name : names)
    if (!is_certificate_name(name)) throw Error(ExitStatus::usage, "'" + escape(name) + "' cannot stand in a certificate", "use the client's host name, and tell 'sslidentity' in its section the same");
  if (names.size() > limits::certificate_names) throw Error(ExitStatus::usage, "that are more names than a certificate takes here", "name at most " + std::to_string(limits::certificate_names));

  const CaUser user(arguments.ca_folder);
  const std::chrono::seconds life = parse_life(arguments.life);
  const Invitation invitation = invite(CaFolder(arguments.ca_folder), names, life, std::time(nullptr));
  const std::string token = format_token(invitation.token);
  if (arguments.quiet) {
    fmt::print("{}\n", token);
    return ExitStatus::success;
  }
  if (invitation.certified)
    fmt::print(stderr, "{} has a certificate until {}, which stays good; if it got into wrong hands: syncropy ca revoke {}\n", arguments.client, format_time(*invitation.certified), arguments.client);
  fmt::print("On {}, as root, once and until {}:\n\n    syncropy-agent enroll {} {}\n\n", arguments.client, format_time(invitation.expires),
             arguments.server.empty() ? invitation.servers.front() : escape(arguments.server), token);
  fmt::print("It gets a certificate for {}. Whoever has the token first gets it: send it by a way that nobody reads;\n'-' in its place reads it from standard input. Here, syncropy-enroll.socket has to be started.\n",
             fmt::join(names, ", "));
  return ExitStatus::success;
}

ExitStatus verb_serve_enrolment(const std::string& ca_folder) {
  PassedSockets passed = take_sockets();
  if (!passed.connection) throw Error(ExitStatus::usage, "the enrolment service is handed a connection by the service manager, and there is none", "start syncropy-enroll.socket");
  serve_enrolment(adopt_connection(std::move(passed.connection)), ca_folder);
  return ExitStatus::success;
}

}  // namespace syncropy

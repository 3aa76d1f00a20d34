#include <fmt/format.h>

#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "transport/tls.hpp"
#include "util/escape.hpp"

namespace syncropy {

ExitStatus verb_check_config(const std::string& config) {
  const ServerSettings settings = load_server_settings(configuration_file(config));
  fmt::print("{} is in order\n", escape(settings.file));
  fmt::print("  repository  {}\n", escape(settings.repository));
  fmt::print("  catalog     {}\n", settings.database.host.empty() ? "embedded Firebird, " + escape(settings.database.dbname)
                                                                  : escape(settings.database.dbname) + " at " + escape(settings.database.host) + " port " + std::to_string(settings.database.port));
  if (!settings.database.backup.empty()) fmt::print("  its backup  {}\n", escape(settings.database.backup));
  fmt::print("  keeps       {} hourly, {} daily, {} weekly, {} monthly datasets a client\n", settings.hour, settings.day, settings.week, settings.month);
  for (const ClientSettings& client : settings.clients) {
    // Certificates are read as a run would read them.
    if (client.ssl) const TlsCredentials loaded({client.ssl_certificate, client.ssl_key, client.ssl_password, client.ssl_ca, client.ssl_pins, client.ssl_revoked});
    std::string paths;
    for (const std::string& path : client.paths) paths += (paths.empty() ? "" : " ") + escape(path);
    fmt::print("  client      {}: {}{}, {}: {}\n", client.name, escape(client.host), client.host.starts_with('/') ? "" : " port " + std::to_string(client.port),
               !client.ssl ? "without TLS" : client.ssl_ca.empty() ? "TLS, pinned certificate" : "TLS, private CA", paths);
    if (!client.ssl_revoked.empty()) fmt::print("              {}: what {} lists as revoked is refused\n", client.name, escape(client.ssl_revoked));
  }
  return ExitStatus::success;
}

}  // namespace syncropy

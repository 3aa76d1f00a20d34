#include "config/settings.hpp"

#include <filesystem>

#include "config/document.hpp"
#include "config/keys.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::size_t most_clients = 10'000;
constexpr std::uint64_t a_day = 86'400;
constexpr unsigned most_kept = 10'000;
constexpr std::size_t most_command_bytes = 8'192;  // what one message of the protocol carries
constexpr std::size_t most_pattern_bytes = 4'096;

// What both formats come down to: three sections and the clients.
struct Parts {
  ConfigNode general, database, dataset;
  int general_line = 1, database_line = 1, dataset_line = 1;
  std::vector<ConfigNode::Entry> clients;
  bool classic = false;
};

// One of the sections that both forms have by the same name.
bool take_section(Parts& parts, ConfigNode::Entry& entry) {
  const auto take = [&](ConfigNode& section, int& line) {
    section = std::move(entry.value);
    line = entry.line;
    return true;
  };
  if (entry.key == "general") return take(parts.general, parts.general_line);
  if (entry.key == "database") return take(parts.database, parts.database_line);
  if (entry.key == "dataset") return take(parts.dataset, parts.dataset_line);
  return false;
}

Parts parts_of_yaml(ConfigNode top, const std::string& file) {
  static const std::vector<std::string_view> known{"general", "database", "dataset", "clients"};
  Parts parts;
  for (ConfigNode::Entry& entry : top.entries) {
    if (take_section(parts, entry)) continue;
    if (entry.key == "clients") {
      if (entry.value.kind != ConfigNode::Kind::map && entry.value.kind != ConfigNode::Kind::empty)
        throw config_error(file, entry.line, "'clients' must hold one section for each client", "write 'NAME:' and its keys below, indented");
      parts.clients = std::move(entry.value.entries);
    } else {
      throw config_error(file, entry.line, "unknown section '" + escape(entry.key) + "'", suggest(entry.key, known));
    }
  }
  return parts;
}

// Python's configparser lets [DEFAULT] stand in for keys that the others lack; here: for those of clients.
void apply_defaults(const ConfigNode& defaults, std::vector<ConfigNode::Entry>& clients) {
  for (ConfigNode::Entry& client : clients)
    for (const ConfigNode::Entry& entry : defaults.entries)
      if (client.value.find(entry.key) == nullptr) client.value.entries.push_back(entry);
}

Parts parts_of_ini(ConfigNode top) {
  Parts parts;
  parts.classic = true;
  ConfigNode defaults;
  for (ConfigNode::Entry& entry : top.entries) {
    if (take_section(parts, entry)) continue;
    if (entry.key == "DEFAULT") {
      defaults = std::move(entry.value);
    } else {
      parts.clients.push_back(std::move(entry));
    }
  }
  if (defaults.entries.size() * parts.clients.size() <= 1'000'000) apply_defaults(defaults, parts.clients);
  return parts;
}

LogLevel log_level_of(const Keys& keys) {
  const std::string value = keys.text_or("log_level", "info");
  std::string word = value;
  for (char& c : word)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (word == "debug") return LogLevel::debug;
  if (word == "info") return LogLevel::info;
  if (word == "warning") return LogLevel::warning;
  if (word == "error" || word == "critical") return LogLevel::error;
  throw keys.error("log_level", "'log_level' is not '" + escape(value) + "'", "write debug, info, warning or error");
}

void read_general(const Keys& keys, ServerSettings& settings) {
  keys.allow({"repository", "log_file", "log_level", "parallel"});
  static_cast<void>(keys.required("repository", "add 'repository' with the folder that the backups go to"));
  settings.repository = std::filesystem::path(keys.file("repository")).lexically_normal().string();
  while (settings.repository.size() > 1 && settings.repository.ends_with('/')) settings.repository.pop_back();
  settings.log_file = keys.file("log_file");
  settings.log_level = log_level_of(keys);
  settings.parallel = static_cast<unsigned>(keys.number_or("parallel", 5, 1, 64));
}

void read_database(const Keys& keys, ServerSettings& settings) {
  keys.allow({"host", "port", "user", "password", "dbname", "backup"});
  DatabaseSettings& database = settings.database;
  database.host = keys.text_or("host", {});
  database.port = static_cast<std::uint16_t>(keys.number_or("port", 3'050, 1, 65'535));
  database.user = keys.text_or("user", "SYSDBA");
  database.password = keys.secret("password");
  database.backup = keys.file("backup");
  if (database.host.empty()) {
    database.dbname = keys.file("dbname");
    if (database.dbname.empty()) database.dbname = settings.repository + "/.syncropy/catalog.fdb";
    return;
  }
  database.dbname = keys.required("dbname", "add the name or the path of the database as the Firebird server at 'host' knows it");
  if (database.password.empty()) throw keys.error("host", "the Firebird server at '" + escape(database.host) + "' wants a password, and there is none", "add 'password', or leave 'host' out for the embedded engine");
}

void read_dataset(const Keys& keys, ServerSettings& settings) {
  keys.allow({"hour", "day", "week", "month"});
  auto count = [&](std::string_view key, unsigned fallback) { return static_cast<unsigned>(keys.number_or(key, fallback, 1, most_kept)); };
  settings.hour = count("hour", settings.hour);
  settings.day = count("day", settings.day);
  settings.week = count("week", settings.week);
  settings.month = count("month", settings.month);
}

void read_tls(const Keys& keys, ClientSettings& client) {
  if (!client.ssl) return;  // what is not used is not looked at: a credential may not even be there
  const OwnCertificate own = own_certificate(keys);
  client.ssl_certificate = own.certificate;
  client.ssl_key = own.key;
  client.ssl_ca = keys.file_or_credential("sslca");
  client.ssl_revoked = revocation_list(keys);
  client.ssl_identity = keys.text_or("sslidentity", {});
  client.ssl_pins = keys.files_or_credentials("sslpin");
  if (own.certificate.empty())
    throw keys.error("ssl", keys.where() + " uses TLS, and there is no certificate for it", "add 'sslcert' and 'sslkey' (or 'sslpem', with both in one file), or 'ssl: no' for a connection without TLS");
  client.ssl_password = keys.secret("sslpass");
  if (client.ssl_ca.empty() && client.ssl_pins.empty()) client.ssl_pins = {client.ssl_certificate};
}

std::string host_of(const Keys& keys) {
  std::string host = keys.required("host", "add 'host' with the name or the address of the machine");
  const bool printable = host.find_first_of(" \t\r\n") == std::string::npos;
  if (host.size() > 255 || (!host.starts_with('/') && !printable)) throw keys.error("host", "'" + escape(host) + "' is not the name or the address of a machine", "correct 'host'");
  return host;
}

std::string command_of(const Keys& keys, std::string_view key) {
  std::string command = keys.text_or(key, {});
  if (command.size() > most_command_bytes)
    throw keys.error(key, "'" + std::string(key) + "' is longer than " + std::to_string(most_command_bytes) + " bytes", "put it into a script on the client, and name that");
  return command;
}

ClientSettings read_client(const Keys& keys, const std::string& name, bool classic) {
  keys.allow({"type", "host", "port", "restore_host", "restore_port", "ssl", "sslcert", "sslkey", "sslpem", "sslpass", "sslca", "sslcrl", "sslidentity", "sslpin", "path", "exclude", "acl", "compress", "one_file_system",
              "pre_command", "post_command", "command_timeout", "stall_timeout", "max_entries", "max_bytes", "max_depth"});
  ClientSettings client;
  client.name = name;
  if (const std::string type = keys.text_or("type", "file"); type != "file")
    throw keys.error("type", "'type' is not '" + escape(type) + "': 'file' is the only one there is", "write 'file', or leave it out");
  client.host = host_of(keys);
  client.port = static_cast<std::uint16_t>(keys.number_or("port", 4'444, 1, 65'535));
  client.restore_host = keys.text_or("restore_host", {});
  client.restore_port = static_cast<std::uint16_t>(keys.number_or("restore_port", 4'445, 1, 65'535));
  client.ssl = keys.boolean_or("ssl", !classic);
  read_tls(keys, client);
  client.paths = keys.paths("path");
  if (client.paths.empty()) throw keys.error("path", keys.where() + " has no 'path'", "add 'path' with the folders to back up");
  client.excludes = keys.list("exclude");
  for (const std::string& pattern : client.excludes)
    if (pattern.size() > most_pattern_bytes || pattern.find_first_not_of("/*") == std::string::npos)
      throw keys.error("exclude", "the pattern '" + escape(pattern) + "' in 'exclude' would match nothing or everything", "name a file or folder, as syncropy.yaml(5) describes");
  client.acl = keys.boolean_or("acl", true);
  client.compress = keys.boolean_or("compress", false);
  client.one_file_system = keys.boolean_or("one_file_system", false);
  client.pre_command = command_of(keys, "pre_command");
  client.post_command = command_of(keys, "post_command");
  client.command_timeout = static_cast<unsigned>(keys.number_or("command_timeout", 3'600, 1, a_day));
  client.stall_timeout = static_cast<unsigned>(keys.number_or("stall_timeout", 120, 1, a_day));
  client.max_entries = keys.number_or("max_entries", client.max_entries, 1, 1'000'000'000'000);
  client.max_bytes = keys.size_or("max_bytes", client.max_bytes);
  client.max_depth = static_cast<unsigned>(keys.number_or("max_depth", 1'000, 1, 1'000));
  return client;
}

void read_clients(const Parts& parts, const std::string& file, const std::string& folder, Secrets secrets, ServerSettings& settings) {
  if (parts.clients.empty())
    throw config_error(file, 1, "there is no client in it", parts.classic ? "add a section [NAME] for each machine to back up" : "add 'clients:' with a section for each machine to back up");
  if (parts.clients.size() > most_clients) throw config_error(file, 1, "there are more than " + std::to_string(most_clients) + " clients in it", "divide it into several configurations");
  for (const ConfigNode::Entry& entry : parts.clients) {
    if (!is_client_name(entry.key))
      throw config_error(file, entry.line, "'" + escape(entry.key) + "' cannot be the name of a client", "use 1 to 64 letters, digits, '.', '_' and '-', not beginning with '.' or '-': a folder of the repository is called so");
    const Keys keys(file, folder, "client '" + entry.key + "'", entry.value, entry.line, secrets == Secrets::all);
    settings.clients.push_back(read_client(keys, entry.key, parts.classic));
  }
}

}  // namespace

ServerSettings parse_server_settings(std::string_view text, const std::string& file, Secrets secrets) {
  if (text.size() > limits::config_bytes) throw Error(ExitStatus::config, escape(file) + " is larger than " + std::to_string(limits::config_bytes) + " bytes", "divide it into several configurations");
  const std::string folder = folder_of(file);
  const Parts parts = looks_like_ini(text) ? parts_of_ini(parse_ini(text, file)) : parts_of_yaml(parse_yaml(text, file), file);
  ServerSettings settings;
  settings.file = file;
  settings.name = std::filesystem::path(file).stem().string();
  read_general(Keys(file, folder, "section 'general'", parts.general, parts.general_line), settings);
  read_database(Keys(file, folder, "section 'database'", parts.database, parts.database_line, secrets != Secrets::none), settings);
  read_dataset(Keys(file, folder, "section 'dataset'", parts.dataset, parts.dataset_line), settings);
  read_clients(parts, file, folder, secrets, settings);
  return settings;
}

ServerSettings load_server_settings(const std::string& file, Secrets secrets) {
  const Fd fd = open_config(file, "syncropy.yaml(5)");
  return parse_server_settings(read_all(fd.get(), limits::config_bytes, ExitStatus::config, file), file, secrets);
}

}  // namespace syncropy

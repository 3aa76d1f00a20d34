#pragma once
// What the server was told: one YAML file or one classic INI file (syncropy.yaml(5)).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/dataset.hpp"
#include "util/error.hpp"

namespace syncropy {

enum class LogLevel { error, warning, info, debug };

struct DatabaseSettings {
  std::string host;          // empty: the embedded engine and a local file
  std::uint16_t port = 3050;
  std::string user = "SYSDBA";
  std::string password;      // may have come from a systemd credential
  std::string backup;        // an absolute file that gets a backup of the database after each run; empty: none
  std::string dbname;        // embedded: an absolute file, default REPOSITORY/.syncropy/catalog.fdb; else what the server knows
};

struct ClientSettings {
  std::string name;
  std::string host;                    // a name, an address, or an absolute path: an AF_UNIX socket
  std::uint16_t port = 4444;
  std::string restore_host;            // of the client's restore worker; empty: `host`
  std::uint16_t restore_port = 4445;
  bool ssl = true;                     // where the file says nothing: yes in YAML, no in INI as in the classic program
  std::string ssl_certificate, ssl_key;  // PEM files of this server's own identity; equal files are allowed (sslpem)
  std::string ssl_password;              // of an encrypted key
  std::string ssl_ca;                    // private CA that signed the agent's certificate; empty: the agent is pinned
  std::string ssl_revoked;               // what that CA has revoked; default: beside ssl_ca, where it is; empty: none
  std::string ssl_identity;              // the name the agent's certificate must carry; empty: `host`
  std::vector<std::string> ssl_pins;     // PEM files of accepted agent certificates; without CA never empty: ssl_certificate itself
  std::vector<std::string> paths;        // absolute, normalised, sorted by compare_paths, none inside another
  std::vector<std::string> excludes;     // patterns, syncropy.yaml(5)
  bool acl = true;
  bool compress = false;
  bool one_file_system = false;
  std::string pre_command, post_command;
  unsigned command_timeout = 3'600;      // seconds, 1 to 86,400
  unsigned stall_timeout = 120;          // seconds without a byte from the agent, 1 to 86,400
  std::uint64_t max_entries = 100'000'000;
  std::uint64_t max_bytes = INT64_MAX;   // sum of the sizes of regular files
  unsigned max_depth = 1'000;
};

struct ServerSettings {
  std::string file;        // where this came from
  std::string name;        // NAME of NAME.yaml
  std::string repository;  // absolute
  std::string log_file;    // empty: journal only
  LogLevel log_level = LogLevel::info;
  unsigned parallel = 5;   // clients side by side, 1 to 64
  DatabaseSettings database;
  unsigned hour = 24, day = 6, week = 4, month = 12;  // datasets kept per tier, 1 to 10,000
  std::vector<ClientSettings> clients;                // in the file's order, at least one
};

// Reads FILE: YAML, or the classic INI when its first significant line is a [section]. Everything is checked before
// anything is returned; an unknown key, a wrong type or a missing value ends in one Error (ExitStatus::config, or no_input
// where FILE itself is missing) that begins with "FILE:LINE: " and has a remedy. Relative paths in FILE are relative
// to its folder. Secrets, keys and certificates that name a credential are looked up as `secrets` says. Sizes are bounded: 1 MiB of text,
// 10,000 clients.
enum class Secrets {
  all,
  of_database,  // for who asks the catalog; what clients name stays "credential:NAME" and is of no use
  none,         // for who reads the repository alone: a person or a unit that is given no credential can
};
[[nodiscard]] ServerSettings load_server_settings(const std::string& file, Secrets secrets = Secrets::all);

// The same for a text that is at hand; `file` stands in errors and is what relative paths are relative to the folder of.
[[nodiscard]] ServerSettings parse_server_settings(std::string_view text, const std::string& file, Secrets secrets = Secrets::all);

// Where configurations are by name: $SYNCROPY_CONFIG_FOLDER, or the folder that the build was told (/etc/syncropy).
[[nodiscard]] std::string config_folder();

// A file that exists is taken as it is; otherwise a NAME means NAME.yaml or NAME.cfg in the folder of configurations. Throws Error:
// no_input (naming what was looked for), config (both exist).
[[nodiscard]] std::string find_config(const std::string& name_or_file);

// The same for what cannot be a file: the NAME of a unit's instance. Throws Error(config) for one that is not there.
[[nodiscard]] std::string find_config_named(const std::string& name);

// The instance of a unit: "prod-hourly" is config "prod" and tier hour; -daily, -weekly, -monthly. What comes before the last of these is the
// name, whatever it ends with: of config "prod-hourly" this tier's instance is "prod-hourly-hourly". Throws Error(usage).
struct Instance {
  std::string config;
  Tier tier;
};
[[nodiscard]] Instance parse_instance(const std::string& instance);

}  // namespace syncropy

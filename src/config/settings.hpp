#pragma once
// What the server was told: one YAML file or one classic INI file (syncropy.yaml(5)).

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "util/error.hpp"

namespace syncropy {

enum class LogLevel { error, warning, info, debug };

struct DatabaseSettings {
  std::string host;          // empty: the embedded engine and a local file
  std::uint16_t port = 3050;
  std::string user = "SYSDBA";
  std::string password;      // may have come from a systemd credential
  std::string dbname;        // embedded: an absolute file, default REPOSITORY/.syncropy/catalog.fdb; else what the server knows
};

struct ClientSettings {
  std::string name;
  std::string host;                    // a name, an address, or an absolute path: an AF_UNIX socket
  std::uint16_t port = 4444;
  bool ssl = true;
  std::string ssl_certificate, ssl_key;  // PEM files of this server's own identity; equal files are allowed (sslpem)
  std::string ssl_password;              // of an encrypted key
  std::string ssl_ca;                    // private CA that signed the agent's certificate; empty: the agent is pinned
  std::string ssl_identity;              // the name the agent's certificate must carry; empty: `host`
  std::vector<std::string> ssl_pins;     // PEM files of accepted agent certificates; empty without CA: ssl_certificate itself
  std::vector<std::string> paths;        // absolute, normalised, sorted, none inside another
  std::vector<std::string> excludes;     // patterns, syncropy.yaml(5)
  bool acl = true;
  bool compress = false;
  bool one_file_system = false;
  std::string pre_command, post_command;
  unsigned command_timeout = 3'600;      // seconds
  unsigned stall_timeout = 120;          // seconds without a byte from the agent
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
// anything is returned; an unknown key, a wrong type or a missing file ends in one Error (ExitStatus::config, or no_input
// where FILE itself is missing) that begins with "FILE:LINE: " and has a remedy. Relative paths in FILE are relative
// to its folder. Sizes are bounded: 1 MiB of text, 10,000 clients.
[[nodiscard]] ServerSettings load_server_settings(const std::string& file);

}  // namespace syncropy

#pragma once
// How the backups of a configuration are: by what the repository holds and runs have noted there.

#include <array>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "repository/repository.hpp"

namespace syncropy {

inline constexpr std::time_t certificate_warning_seconds = 30 * 86'400;

struct ClientStatus {
  std::string name;
  bool uses_tls = true;
  std::array<std::optional<DatasetInfo>, 4> newest;  // by tier, in the order of all_tiers
  RunNotes notes;
  std::vector<std::string> attention;                // what somebody should look at; a line each, escaped
};

struct ConfigurationStatus {
  std::uint64_t bytes_free = 0, bytes_total = 0;     // for the repository's user
  std::uint64_t inodes_free = 0, inodes_total = 0;   // total 0: the filesystem has no such bound
  std::time_t certificate_expires = 0;               // this server's, of those that its clients name the one that ends first; 0: not known
  std::vector<ClientStatus> clients;
  std::vector<std::string> attention;
};

// When the first of this server's certificates expires that `settings` names; 0 where none can be read: it may be a credential that is root's.
[[nodiscard]] std::time_t own_expiry(const ServerSettings& settings);

// Throws Error where the repository cannot be read. A client that was never backed up has an empty status, and that is to be looked at.
[[nodiscard]] ConfigurationStatus status_of(const ServerSettings& settings, std::time_t own_certificate_expires, std::time_t now);

// "45 s", "12 min", "9 h", "3 d": for people.
[[nodiscard]] std::string format_age(std::int64_t seconds);

}  // namespace syncropy

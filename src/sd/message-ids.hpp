#pragma once
// What an operator must act on or may want to find again: MESSAGE_ID of journal entries (systemd.journal-fields(7)). Never reused. Each has
// its text in units/syncropy.catalog and its line in syncropy-journal(7).

#include <string_view>

#include "util/error.hpp"

namespace syncropy::message_id {

inline constexpr std::string_view dataset_complete = "18192d5a7e6a4821917b9006fdf3de87";  // a dataset was published, complete
inline constexpr std::string_view dataset_partial = "c34fdf0cc27649f5b35f040a6e393a8a";  // a dataset was published; some files could not be read
inline constexpr std::string_view run_failed = "580dde0401654a98aeb498dcd5a672d8";  // a client's run failed; nothing was published
inline constexpr std::string_view file_unread = "d874e347ad57425a9167f0623ff80d72";  // one file could not be read on the client
inline constexpr std::string_view command_failed = "fffa26a05817401994d1773c5cd33c3b";  // a pre- or post-command failed
inline constexpr std::string_view not_recorded = "860572cacd8b4a978c8be92c0198aa50";  // a dataset stands in the repository and not in the catalog
inline constexpr std::string_view recovered = "8f311462b9ec496e9cd1c1f8f2c5ac62";  // an interrupted run was cleaned up or recorded
inline constexpr std::string_view expired = "19f79365c124449d826e4ce93e11bee8";  // retention let a dataset go
inline constexpr std::string_view dataset_damaged = "ed2b1da02cab49ada2c9e94e49775707";  // a dataset in the repository has no valid manifest
inline constexpr std::string_view file_damaged = "9621c51fb7e041e9be85b4ca78b9e98e";  // what is stored of a file is not what was backed up
inline constexpr std::string_view not_started = "1244675480f84ced9de5061eb54fe46d";  // a service could not start: its configuration, certificates or credentials are wrong
inline constexpr std::string_view reload_refused = "a2be964b2e444cdc8b0f7497662d4dea";  // an agent that was to read its policy anew goes on with the old one
inline constexpr std::string_view hook_refused = "a18691d6eda0456aa71f3d9efa1778c6";  // somebody asked for a hook as root and may not
inline constexpr std::string_view catalog_damaged = "cc4d23941f0542afb6fbeda870a9cf28";  // the catalog shows what the manifests do not, or cannot be read
inline constexpr std::string_view unit_failed = "90535d448ff44be69dbed6726262a8ed";  // units/report-failure: a unit failed
inline constexpr std::string_view not_mailed = "961deea9835849a7a60cc7f4c3e209d7";  // units/report-failure: nobody could be told of it
inline constexpr std::string_view configuration_wrong = "49dc4df50ff44a2c997e76cfda80d31f";  // a run did not begin: command line, configuration or a credential
inline constexpr std::string_view repository_missing = "7af2d3dfbed44cdea8d7768e03182eb3";  // the repository is not there, not ours, or not writable
inline constexpr std::string_view agent_unreachable = "04d43f3c3549424b8dcc78aecc531649";  // nobody answers where a client's agent should
inline constexpr std::string_view agent_refused = "c759c67d573a45b98dfb972a81ba824b";  // a certificate, or a policy, of one side says no to the other
inline constexpr std::string_view connection_lost = "f088469d00bb4710b163261119f018ab";  // cut off, stalled, or not to the protocol
inline constexpr std::string_view disk_failed = "13fdafcdfc1449fba2b1e22ca218870d";  // full, over quota, failing, read-only
inline constexpr std::string_view lock_held = "47d25ac19e5e4021bc3fdd4ca9da143f";  // another run held the client's lock for longer than this one waits
inline constexpr std::string_view waiting = "cc1370971fd84ad7945cb0d5324f42f9";  // another run holds the client's lock: this one waits
inline constexpr std::string_view interrupted = "366eb7678390417189ded89e59eba12c";  // ended by a signal
inline constexpr std::string_view catalog_not_backed_up = "5c5109e9395e48c1b2bddcab71b9b3ce";  // the file 'database: backup' could not be written
inline constexpr std::string_view verified = "fbf2f502f33b4b668a232a4b32ae12e4";  // what was read again is in order
inline constexpr std::string_view trash_emptied = "46702c9e27f34113829fab1663edf5f6";  // what had expired is removed
inline constexpr std::string_view certificate_issued = "8f0b9634d72b4b72bca988da896c4a26";  // the enrolment service certified a machine, or renewed its certificate
inline constexpr std::string_view enrolment_refused = "b2beba8a34664803bc1c3c7736694d69";  // a machine asked the enrolment service for what it may not have: a wrong, used or expired token, a revoked certificate
inline constexpr std::string_view certificate_expires = "b8edbb8fc14a4779aab4a86f01e202c6";  // a certificate expires within 30 days
inline constexpr std::string_view certificate_renewed = "11f473b330d047cdb107a9765ccca543";  // this machine has a new certificate
inline constexpr std::string_view certificate_not_renewed = "df7bfabd34884396b3287395fec8c99c";  // a certificate that is due could not be renewed
inline constexpr std::string_view server_refused = "c0eec66b8d9d4b7eb4f6dd4dc5b8d4ca";  // an agent refused who connected, or was refused: certificates or its policy

// Of a run, or another job of the server, that ended with `status`; run_failed where there is no better one.
[[nodiscard]] constexpr std::string_view of_failure(ExitStatus status) {
  switch (status) {
    case ExitStatus::usage:
    case ExitStatus::no_input:
    case ExitStatus::config: return configuration_wrong;
    case ExitStatus::repository: return repository_missing;
    case ExitStatus::unavailable: return agent_unreachable;
    case ExitStatus::refused: return agent_refused;
    case ExitStatus::protocol: return connection_lost;
    case ExitStatus::io: return disk_failed;
    case ExitStatus::busy: return lock_held;
    default: return run_failed;
  }
}

}  // namespace syncropy::message_id

#pragma once
// What an operator must act on or may want to find again: MESSAGE_ID of journal entries (systemd.journal-fields(7)). Never reused.

#include <string_view>

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

}  // namespace syncropy::message_id

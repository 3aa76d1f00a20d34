#pragma once
// Every message of the protocol as a plain struct with its writer and reader: syncropy-protocol(7), "Messages".
// Readers throw Error(protocol) for anything out of bounds or order within one message; what holds between messages
// (sorted listings, known ids, granted credit) is checked by agent and server.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"
#include "util/bytes.hpp"

namespace syncropy {

inline constexpr std::uint32_t protocol_version = 1;

enum Feature : std::uint64_t { feature_zstd = 1 };

namespace limits {
inline constexpr std::size_t short_text_bytes = 255;         // software, host
inline constexpr std::size_t error_text_bytes = 4'096;
inline constexpr std::size_t command_bytes = 8'192;
inline constexpr std::size_t output_bytes = 65'536;          // one output message, and all output of one command
inline constexpr std::uint64_t command_seconds = 7 * 86'400;
inline constexpr std::size_t list_paths = 1'000;
inline constexpr std::size_t list_patterns = 1'000;
inline constexpr std::size_t pattern_bytes = 4'096;
inline constexpr std::size_t listing_bytes = 64U << 10;      // an entries message is sent at about this size
inline constexpr std::uint64_t listing_problems = 1'000'000;  // in one listing
inline constexpr std::size_t listing_window = 64;            // entries messages sent ahead of credit
inline constexpr std::size_t fetch_batch = 128;              // requests in one fetch message
inline constexpr std::size_t fetch_window = 4'096;           // requests without an answer
inline constexpr std::size_t data_bytes = 256U << 10;        // content in one data message
inline constexpr std::size_t inline_bytes = 64U << 10;       // content within a file message
inline constexpr std::size_t blocks = 16'384;                // block digests of one request
inline constexpr std::uint64_t smallest_block = 1U << 20;
inline constexpr std::uint64_t largest_block = UINT64_C(1) << 49;
}  // namespace limits

// First from both sides; the server speaks first.
struct Hello {
  std::uint32_t version = protocol_version;
  std::uint64_t features = 0;   // the server: wanted; the agent: those of them it grants
  std::string software, host;
};
void put(ByteWriter& out, const Hello& message);
[[nodiscard]] Hello get_hello(std::string_view payload);

// Ends the session; either side, at any time.
struct ErrorMessage {
  ExitStatus status = ExitStatus::internal;
  std::string text, remedy;     // not escaped
};
void put(ByteWriter& out, const ErrorMessage& message);
[[nodiscard]] ErrorMessage get_error(std::string_view payload);

enum class CommandKind : std::uint8_t { pre = 1, post };
struct Run {
  CommandKind kind = CommandKind::pre;
  std::string command;
  std::uint32_t timeout_seconds = 0;
  bool run_succeeded = false;   // post: what the command may want to know (SYNCROPY_RESULT)
};
void put(ByteWriter& out, const Run& message);
[[nodiscard]] Run get_run(std::string_view payload);

enum class CommandEnd : std::uint8_t { exited = 1, signalled, timed_out, not_run };
struct Ran {
  CommandEnd end = CommandEnd::exited;
  std::uint32_t value = 0;      // exit status or signal number; not_run: an ExitStatus
  std::string text, remedy;     // not_run: why, not escaped
};
void put(ByteWriter& out, const Ran& message);
[[nodiscard]] Ran get_ran(std::string_view payload);

struct ListRequest {
  std::vector<std::string> paths;     // relative to the root, sorted, none inside another
  std::vector<std::string> excludes;
  bool one_file_system = false;
  std::uint32_t max_depth = 0;
};
void put(ByteWriter& out, const ListRequest& message);
[[nodiscard]] ListRequest get_list(std::string_view payload);

// The payload of an entries message is a sequence of these; the first path of a message is whole.
struct ListedEntry {
  std::string path;
  Stat stat;
  bool unread = false;
};
void put(ByteWriter& out, std::string_view path, const Stat& stat, bool unread, std::string_view previous_path);
[[nodiscard]] ListedEntry get_listed_entry(ByteReader& in, std::string_view previous_path);

struct Problem {
  std::string path, tried;
  std::uint32_t code = 0;             // errno of the client
};
void put(ByteWriter& out, const Problem& message);
[[nodiscard]] Problem get_problem(std::string_view payload);

struct Listed {
  std::uint64_t entries = 0, problems = 0;
  Digest digest{};                    // of all payloads of entries messages, one after the other
};
void put(ByteWriter& out, const Listed& message);
[[nodiscard]] Listed get_listed(std::string_view payload);

struct FetchRequest {
  std::uint32_t id = 0;
  std::string path;
  FileType type = FileType::regular;  // as listed
  bool acl = true;
  std::optional<Digest> known;        // of the content the server has
  std::uint64_t block_bytes = 0;      // with `blocks`: a power of two, at least limits::smallest_block
  std::vector<std::array<std::uint8_t, 16>> blocks;  // first 16 bytes of the SHA-256 of each block of it
};
void put(ByteWriter& out, const std::vector<FetchRequest>& requests);
[[nodiscard]] std::vector<FetchRequest> get_fetch(std::string_view payload);

enum class Content : std::uint8_t { none = 0, same = 1, here = 2, streamed = 3 };
// The whole answer for a small or unchanged file and for everything that is no regular file (message file), and the
// closing answer after data messages (message end).
struct FetchedFile {
  std::uint32_t id = 0;
  Stat stat;                          // at the reading
  std::uint8_t flags = 0;             // EntryFlag racy, unstable
  Details details;
  Content content = Content::none;
  std::optional<Digest> digest;       // of the content, by the agent; regular files
  std::string_view bytes;             // Content::here; points into the payload
};
void put(ByteWriter& out, const FetchedFile& message);  // without `bytes`: the caller sends them as the frame's body
[[nodiscard]] FetchedFile get_fetched_file(std::string_view payload);

// begin, restart: the id alone. restart: the file changed while it was read; what was sent of it is void.
void put_id(ByteWriter& out, std::uint32_t id);
[[nodiscard]] std::uint32_t get_id(std::string_view payload);

struct Data {
  std::uint32_t id = 0;
  std::uint64_t offset = 0;           // ascending; a gap is a hole
  std::string_view bytes;
};
void put_data_head(ByteWriter& out, std::uint32_t id, std::uint64_t offset);
[[nodiscard]] Data get_data(std::string_view payload);

struct Keep {                         // these bytes are those the server has at the same place
  std::uint32_t id = 0;
  std::uint64_t offset = 0, length = 0;
};
void put(ByteWriter& out, const Keep& message);
[[nodiscard]] Keep get_keep(std::string_view payload);

// In place of an errno: what was listed has become something else. ESTALE is what a network filesystem says of a file it has lost.
inline constexpr std::uint32_t type_changed = 4'095;

struct FetchFailed {
  std::uint32_t id = 0;
  std::uint32_t code = 0;             // errno of the client, or type_changed
  std::string tried;
};
void put(ByteWriter& out, const FetchFailed& message);
[[nodiscard]] FetchFailed get_fetch_failed(std::string_view payload);

}  // namespace syncropy

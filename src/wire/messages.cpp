#include "wire/messages.hpp"

#include <algorithm>
#include <bit>

#include "model/codec.hpp"
#include "model/limits.hpp"
#include "wire/payload.hpp"

namespace syncropy {
namespace {

bool get_bool(ByteReader& in) {
  const std::uint8_t value = in.byte();
  if (value > 1) in.reject("holds a truth value of " + std::to_string(value));
  return value == 1;
}

void put_digest(ByteWriter& out, const std::optional<Digest>& digest) {
  out.put_byte(digest ? 1 : 0);
  if (digest) out.put_raw(as_bytes(*digest));
}

std::optional<Digest> get_digest(ByteReader& in) {
  if (!get_bool(in)) return std::nullopt;
  Digest digest;
  const std::string_view bytes = in.raw(digest.size());
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

bool is_exit_status(std::uint64_t value) {
  switch (static_cast<ExitStatus>(value)) {
    case ExitStatus::conflict: case ExitStatus::several: case ExitStatus::usage: case ExitStatus::partial: case ExitStatus::not_recorded: case ExitStatus::command:
    case ExitStatus::data: case ExitStatus::no_input: case ExitStatus::unavailable: case ExitStatus::internal: case ExitStatus::repository:
    case ExitStatus::io: case ExitStatus::busy: case ExitStatus::protocol: case ExitStatus::refused: case ExitStatus::config:
      return true;
    default: return false;
  }
}

// What a peer may say of itself: what the others mean (published, recorded, damaged here) only this side can know.
ExitStatus status_of_peer(std::uint64_t value) {
  switch (static_cast<ExitStatus>(value)) {
    case ExitStatus::command: case ExitStatus::no_input: case ExitStatus::unavailable: case ExitStatus::io: case ExitStatus::busy: case ExitStatus::refused: case ExitStatus::config:
      return static_cast<ExitStatus>(value);
    default: return ExitStatus::protocol;
  }
}

}  // namespace

void put(ByteWriter& out, const Hello& message) {
  out.put_raw("SYNCROPY");
  out.put_unsigned(message.version);
  out.put_unsigned(message.features);
  out.put_string(message.software);
  out.put_string(message.host);
}

Hello get_hello(std::string_view payload) {
  ByteReader in = reader_of(payload, "the peer's greeting");
  if (in.raw(8) != "SYNCROPY") in.reject("is not Syncropy's");
  Hello message;
  message.version = get_u32(in);
  message.features = in.unsigned_any();
  message.software = in.string_at_most(limits::short_text_bytes);
  message.host = in.string_at_most(limits::short_text_bytes);
  return message;  // a later version may say more
}

void put(ByteWriter& out, const ErrorMessage& message) {
  out.put_unsigned(static_cast<std::uint64_t>(message.status));
  out.put_string(std::string_view(message.text).substr(0, limits::error_text_bytes));
  out.put_string(std::string_view(message.remedy).substr(0, limits::error_text_bytes));
}

ErrorMessage get_error(std::string_view payload) {
  ByteReader in = reader_of(payload, "an error message of the peer");
  ErrorMessage message;
  message.status = status_of_peer(in.unsigned_at_most(255));
  message.text = in.string_at_most(limits::error_text_bytes);
  message.remedy = in.string_at_most(limits::error_text_bytes);
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const Run& message) {
  out.put_byte(static_cast<std::uint8_t>(message.kind));
  out.put_string(message.command);
  out.put_unsigned(message.timeout_seconds);
  out.put_byte(message.run_succeeded ? 1 : 0);
}

Run get_run(std::string_view payload) {
  ByteReader in = reader_of(payload, "a run message");
  Run message;
  const std::uint8_t kind = in.byte();
  if (kind < 1 || kind > 2) in.reject("is neither for a pre-command nor for a post-command");
  message.kind = static_cast<CommandKind>(kind);
  message.command = in.string_at_most(limits::command_bytes);
  if (message.command.empty() || message.command.find('\0') != std::string::npos) in.reject("has a command that cannot be");
  message.timeout_seconds = static_cast<std::uint32_t>(in.unsigned_at_most(limits::command_seconds));
  message.run_succeeded = get_bool(in);
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const Ran& message) {
  out.put_byte(static_cast<std::uint8_t>(message.end));
  out.put_unsigned(message.value);
  out.put_string(std::string_view(message.text).substr(0, limits::error_text_bytes));
  out.put_string(std::string_view(message.remedy).substr(0, limits::error_text_bytes));
}

Ran get_ran(std::string_view payload) {
  ByteReader in = reader_of(payload, "a ran message");
  Ran message;
  const std::uint8_t end = in.byte();
  if (end < 1 || end > 4) in.reject("has an end that no command has");
  message.end = static_cast<CommandEnd>(end);
  message.value = static_cast<std::uint32_t>(in.unsigned_at_most(255));
  if (message.end == CommandEnd::not_run && !is_exit_status(message.value)) in.reject("has a status that no error has");
  message.text = in.string_at_most(limits::error_text_bytes);
  message.remedy = in.string_at_most(limits::error_text_bytes);
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const ListRequest& message) {
  out.put_unsigned(message.paths.size());
  for (const std::string& path : message.paths) out.put_string(path);
  out.put_unsigned(message.excludes.size());
  for (const std::string& pattern : message.excludes) out.put_string(pattern);
  out.put_byte(message.one_file_system ? 1 : 0);
  out.put_unsigned(message.max_depth);
}

ListRequest get_list(std::string_view payload) {
  ByteReader in = reader_of(payload, "a list message");
  ListRequest message;
  const std::uint64_t paths = in.unsigned_at_most(limits::list_paths);
  if (paths == 0) in.reject("names no path");
  for (std::uint64_t i = 0; i < paths; ++i) {
    std::string path(in.string_at_most(limits::path_bytes));
    if (const char* why = why_not_a_path(path)) in.reject(std::string("a path ") + why);
    if (i > 0 && (compare_paths(message.paths.back(), path) >= 0 || message.paths.back().empty() || path.starts_with(message.paths.back() + "/")))
      in.reject("names paths that are out of order or lie inside another");
    message.paths.push_back(std::move(path));
  }
  const std::uint64_t patterns = in.unsigned_at_most(limits::list_patterns);
  for (std::uint64_t i = 0; i < patterns; ++i) message.excludes.emplace_back(in.string_at_most(limits::pattern_bytes));
  message.one_file_system = get_bool(in);
  message.max_depth = static_cast<std::uint32_t>(in.unsigned_at_most(limits::path_depth));
  in.expect_end();
  return message;
}

void put(ByteWriter& out, std::string_view path, const Stat& stat, bool is_unread, std::string_view previous_path) {
  put_path(out, path, previous_path);
  put_stat(out, stat);
  out.put_byte(is_unread ? 1 : 0);
}

ListedEntry get_listed_entry(ByteReader& in, std::string_view previous_path) {
  ListedEntry entry;
  entry.path = get_path(in, previous_path);
  entry.stat = get_stat(in);
  entry.unread = get_bool(in);
  return entry;
}

void put(ByteWriter& out, const Problem& message) {
  out.put_string(message.path);
  out.put_string(message.tried);
  out.put_unsigned(message.code);
}

Problem get_problem(std::string_view payload) {
  ByteReader in = reader_of(payload, "a problem message");
  Problem message;
  message.path = in.string_at_most(limits::path_bytes);
  if (const char* why = why_not_a_path(message.path)) in.reject(std::string("a path ") + why);
  message.tried = in.string_at_most(limits::short_text_bytes);
  message.code = static_cast<std::uint32_t>(in.unsigned_at_most(4'095));
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const Listed& message) {
  out.put_unsigned(message.entries);
  out.put_unsigned(message.problems);
  out.put_raw(as_bytes(message.digest));
}

Listed get_listed(std::string_view payload) {
  ByteReader in = reader_of(payload, "the end of a listing");
  Listed message;
  message.entries = in.unsigned_any();
  message.problems = in.unsigned_any();
  const std::string_view bytes = in.raw(message.digest.size());
  std::copy(bytes.begin(), bytes.end(), message.digest.begin());
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const std::vector<FetchRequest>& requests) {
  out.put_unsigned(requests.size());
  std::string_view previous;
  for (const FetchRequest& request : requests) {
    out.put_unsigned(request.id);
    put_path(out, request.path, previous);
    out.put_byte(static_cast<std::uint8_t>(static_cast<unsigned>(request.type) << 1 | (request.acl ? 1U : 0U)));
    put_digest(out, request.known);
    out.put_unsigned(request.blocks.size());
    if (!request.blocks.empty()) {
      out.put_unsigned(request.block_bytes);
      for (const auto& block : request.blocks) out.put_raw({reinterpret_cast<const char*>(block.data()), block.size()});
    }
    previous = request.path;
  }
}

std::vector<FetchRequest> get_fetch(std::string_view payload) {
  ByteReader in = reader_of(payload, "a fetch message");
  std::vector<FetchRequest> requests;
  const std::uint64_t count = in.unsigned_at_most(limits::fetch_batch);
  for (std::uint64_t i = 0; i < count; ++i) {
    FetchRequest request;
    request.id = get_u32(in);
    request.path = get_path(in, requests.empty() ? std::string_view{} : std::string_view(requests.back().path));
    const std::uint8_t head = in.byte();
    if (head >> 1 < static_cast<int>(FileType::regular) || head >> 1 > static_cast<int>(FileType::socket)) in.reject("asks for a type that cannot be");
    request.type = static_cast<FileType>(head >> 1);
    request.acl = (head & 1) != 0;
    request.known = get_digest(in);
    const std::uint64_t blocks = in.unsigned_at_most(limits::blocks);
    if (blocks > 0) {
      request.block_bytes = in.unsigned_at_most(limits::largest_block);
      if (request.block_bytes < limits::smallest_block || !std::has_single_bit(request.block_bytes)) in.reject("has a block size that cannot be");
      for (std::uint64_t b = 0; b < blocks; ++b) {
        const std::string_view bytes = in.raw(16);
        std::copy(bytes.begin(), bytes.end(), request.blocks.emplace_back().begin());
      }
    }
    requests.push_back(std::move(request));
  }
  in.expect_end();
  return requests;
}

void put(ByteWriter& out, const FetchedFile& message) {
  out.put_unsigned(message.id);
  put_stat(out, message.stat);
  out.put_byte(message.flags);
  put_details(out, message.details, message.stat.type);
  out.put_byte(static_cast<std::uint8_t>(message.content));
  put_digest(out, message.digest);
}

FetchedFile get_fetched_file(std::string_view payload) {
  ByteReader in = reader_of(payload, "an answer to a fetch");
  FetchedFile message;
  message.id = get_u32(in);
  message.stat = get_stat(in);
  message.flags = in.byte();
  if (message.flags > (racy | unstable)) in.reject("has unknown flags");
  message.details = get_details(in, message.stat);
  const std::uint8_t content = in.byte();
  if (content > static_cast<int>(Content::streamed)) in.reject("has content of unknown kind");
  message.content = static_cast<Content>(content);
  message.digest = get_digest(in);
  const bool regular = message.stat.type == FileType::regular;
  if (regular != message.digest.has_value() || regular == (message.content == Content::none)) in.reject("has content that does not fit its type");
  message.bytes = in.raw(in.remaining());
  if (message.content == Content::here ? message.bytes.size() != message.stat.size || message.bytes.size() > limits::inline_bytes : !message.bytes.empty())
    in.reject("has content of a length that does not fit");
  return message;
}

void put_id(ByteWriter& out, std::uint32_t id) { out.put_unsigned(id); }

std::uint32_t get_id(std::string_view payload) {
  ByteReader in = reader_of(payload, "a message about a fetch");
  const std::uint32_t id = get_u32(in);
  in.expect_end();
  return id;
}

void put_data_head(ByteWriter& out, std::uint32_t id, std::uint64_t offset) {
  out.put_unsigned(id);
  out.put_unsigned(offset);
}

Data get_data(std::string_view payload) {
  ByteReader in = reader_of(payload, "a data message");
  Data message;
  message.id = get_u32(in);
  message.offset = in.unsigned_at_most(limits::file_bytes);
  message.bytes = in.raw(in.remaining());
  if (message.bytes.empty() || message.bytes.size() > limits::data_bytes) in.reject("has " + std::to_string(message.bytes.size()) + " bytes of content");
  if (message.bytes.size() > limits::file_bytes - message.offset) in.reject("has content beyond the end of any file");
  return message;
}

void put(ByteWriter& out, const Keep& message) {
  out.put_unsigned(message.id);
  out.put_unsigned(message.offset);
  out.put_unsigned(message.length);
}

Keep get_keep(std::string_view payload) {
  ByteReader in = reader_of(payload, "a keep message");
  Keep message;
  message.id = get_u32(in);
  message.offset = in.unsigned_at_most(limits::file_bytes);
  message.length = in.unsigned_at_most(limits::file_bytes - message.offset);
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const FetchFailed& message) {
  out.put_unsigned(message.id);
  out.put_unsigned(message.code);
  out.put_string(message.tried);
}

FetchFailed get_fetch_failed(std::string_view payload) {
  ByteReader in = reader_of(payload, "an answer to a fetch");
  FetchFailed message;
  message.id = get_u32(in);
  message.code = static_cast<std::uint32_t>(in.unsigned_at_most(4'095));
  message.tried = in.string_at_most(limits::short_text_bytes);
  in.expect_end();
  return message;
}

}  // namespace syncropy

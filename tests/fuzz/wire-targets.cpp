// Frames, and every message of syncropy-protocol(7). What a reader takes must come back the same once it was written again.

#include <algorithm>
#include <array>
#include <cstring>

#include "tests/fuzz/targets.hpp"
#include "util/stream.hpp"
#include "wire/enrol-messages.hpp"
#include "wire/frame.hpp"
#include "wire/messages.hpp"
#include "wire/restore-messages.hpp"

namespace syncropy::fuzz {
namespace {

class MemoryStream : public ByteStream {
 public:
  explicit MemoryStream(std::string_view bytes = {}, std::size_t piece = 4'096) : bytes_(bytes), piece_(piece) {}
  std::size_t read_some(std::span<std::byte> into) override {
    const std::size_t take = std::min({into.size(), piece_, bytes_.size() - at_});
    std::memcpy(into.data(), bytes_.data() + at_, take);
    at_ += take;
    return take;
  }
  void write_all(std::span<const std::byte> from) override { bytes_.append(reinterpret_cast<const char*>(from.data()), from.size()); }
  void finish() noexcept override {}
  void abort() noexcept override {}

 private:
  std::string bytes_;
  std::size_t at_ = 0, piece_;
};

// The first byte: whether packed frames were agreed on, and in what pieces the bytes come.
void frames(std::string_view bytes) {
  if (bytes.empty()) return;
  const auto head = static_cast<unsigned char>(bytes[0]);
  const bool packed = head % 2 == 1;
  std::vector<Frame> taken;
  accepted({ExitStatus::protocol}, [&] {
    MemoryStream stream(bytes.substr(1), head / 2 + 1U);
    FrameReader in(stream);
    if (packed) in.enable_compression();
    Frame frame;
    while (in.next(frame)) {
      expect(frame.payload.size() <= limits::frame_bytes, "a payload is within its bound");
      expect(frame.type != MessageType::alive, "alive is not handed on");
      if (taken.size() < 64) taken.push_back(frame);
    }
    expect(in.bytes() == bytes.size() - 1, "an orderly end comes after the last byte");
  });
  MemoryStream again;
  FrameWriter out(again);
  if (packed) out.enable_compression();
  for (const Frame& frame : taken) out.send(frame.type, frame.payload);
  out.flush();
  FrameReader in(again);
  if (packed) in.enable_compression();
  Frame frame;
  for (const Frame& sent : taken)
    expect(in.next(frame) && frame.type == sent.type && frame.payload == sent.payload, "a frame comes back as it was sent");
  expect(!in.next(frame), "nothing comes after the last frame");
}

template <typename Get, typename Put>
void both_ways(std::string_view payload, Get get, Put put) {
  ByteWriter first, second;
  put(first, get(payload));
  put(second, get(first.view()));
  expect(first.view() == second.view(), "a message that was read is written the same each time");
}

template <typename Message>
void both_ways(std::string_view payload, Message (*get)(std::string_view)) {
  both_ways(payload, get, [](ByteWriter& out, const Message& message) { put(out, message); });
}

void listing(std::string_view payload) {
  ByteReader in(payload, ExitStatus::protocol, "entries");
  ByteWriter out;
  std::vector<ListedEntry> entries;
  std::string previous;
  while (!in.at_end()) {
    entries.push_back(get_listed_entry(in, previous));
    expect(why_not_a_path(entries.back().path) == nullptr, "what was read as a path is one");
    put(out, entries.back().path, entries.back().stat, entries.back().unread, previous);
    previous = entries.back().path;
  }
  ByteReader again(out.view(), ExitStatus::internal, "entries");
  previous.clear();
  for (const ListedEntry& entry : entries) {
    const ListedEntry same = get_listed_entry(again, previous);
    expect(same.path == entry.path && same.stat == entry.stat && same.unread == entry.unread, "an entry comes back as it was");
    previous = entry.path;
  }
  again.expect_end();
}

void placing(std::string_view payload) {
  ByteReader in(payload, ExitStatus::protocol, "place");
  ByteWriter out;
  std::vector<PlacedEntry> entries;
  std::string previous;
  while (!in.at_end()) {
    entries.push_back(get_placed_entry(in, previous));
    expect(why_not_a_path(entries.back().entry.path) == nullptr, "what was read as a path is one");
    put(out, entries.back().id, entries.back().on_the_way, entries.back().entry, previous);
    previous = entries.back().entry.path;
  }
  ByteReader again(out.view(), ExitStatus::internal, "place");
  previous.clear();
  for (const PlacedEntry& entry : entries) {
    const PlacedEntry same = get_placed_entry(again, previous);
    expect(same.id == entry.id && same.on_the_way == entry.on_the_way && same.entry == entry.entry, "an entry comes back as it was");
    previous = entry.entry.path;
  }
  again.expect_end();
}

void outcomes(std::string_view payload) {
  ByteReader in(payload, ExitStatus::protocol, "outcome");
  while (!in.at_end()) {
    const EntryOutcome outcome = get_entry_outcome(in);
    ByteWriter out;
    put(out, outcome);
    ByteReader again(out.view(), ExitStatus::internal, "outcome");
    const EntryOutcome same = get_entry_outcome(again);
    again.expect_end();
    expect(same.id == outcome.id && same.outcome == outcome.outcome, "an outcome comes back as it was");
  }
}

struct Reader {
  std::string_view name;
  void (*read)(std::string_view payload);
};

constexpr std::array readers{
    Reader{"hello", [](std::string_view payload) { both_ways(payload, get_hello); }},
    Reader{"error", [](std::string_view payload) { both_ways(payload, get_error); }},
    Reader{"run", [](std::string_view payload) { both_ways(payload, get_run); }},
    Reader{"ran", [](std::string_view payload) { both_ways(payload, get_ran); }},
    Reader{"list", [](std::string_view payload) { both_ways(payload, get_list); }},
    Reader{"entries", listing},
    Reader{"problem", [](std::string_view payload) { both_ways(payload, get_problem); }},
    Reader{"listed", [](std::string_view payload) { both_ways(payload, get_listed); }},
    Reader{"fetch", [](std::string_view payload) { both_ways(payload, get_fetch); }},
    Reader{"file",
           [](std::string_view payload) {
             both_ways(payload, get_fetched_file, [](ByteWriter& out, const FetchedFile& file) {
               put(out, file);
               out.put_raw(file.bytes);
             });
           }},
    Reader{"id", [](std::string_view payload) { both_ways(payload, get_id, put_id); }},
    Reader{"data",
           [](std::string_view payload) {
             both_ways(payload, get_data, [](ByteWriter& out, const Data& data) {
               put_data_head(out, data.id, data.offset);
               out.put_raw(data.bytes);
             });
           }},
    Reader{"keep", [](std::string_view payload) { both_ways(payload, get_keep); }},
    Reader{"failed", [](std::string_view payload) { both_ways(payload, get_fetch_failed); }},
    Reader{"restore", [](std::string_view payload) { both_ways(payload, get_restore_rules); }},
    Reader{"ready", [](std::string_view payload) { both_ways(payload, get_restore_ready); }},
    Reader{"place", placing},
    Reader{"want", [](std::string_view payload) { both_ways(payload, get_wants, put_wants); }},
    Reader{"content-end", [](std::string_view payload) { both_ways(payload, get_content_end); }},
    Reader{"outcome", outcomes},
    Reader{"removed", [](std::string_view payload) { both_ways(payload, get_removed); }},
    Reader{"enrol", [](std::string_view payload) { both_ways(payload, get_enrol_request); }},
    Reader{"renew", [](std::string_view payload) { both_ways(payload, get_renewal_request); }},
    Reader{"issued", [](std::string_view payload) { both_ways(payload, get_issued); }},
};

// The first byte is the number of a reader above.
void messages(std::string_view bytes) {
  if (bytes.empty()) return;
  const Reader& reader = readers.at(static_cast<unsigned char>(bytes[0]) % readers.size());
  accepted({ExitStatus::protocol}, [&] { reader.read(bytes.substr(1)); });
}

constexpr std::array targets{Target{"frame", frames}, Target{"message", messages}};

}  // namespace

std::span<const Target> wire_targets() { return targets; }

}  // namespace syncropy::fuzz

// What is read back from a disk that may rot, and from people: manifests, damage lists, packed bytes, names.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "enrol/token.hpp"
#include "model/capability.hpp"
#include "model/codec.hpp"
#include "model/dataset.hpp"
#include "model/manifest.hpp"
#include "repository/damage.hpp"
#include "tests/fuzz/targets.hpp"
#include "util/compress.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"

namespace syncropy::fuzz {
namespace {

std::string sealed(std::string_view body) { return std::string(body) + std::string(as_bytes(digest_of(body))); }

// The first byte: whether the rest gets its checksum. No bit that flips gets past that; here is who flips bits and adds it.
void index(std::string_view bytes) {
  if (bytes.empty()) return;
  const std::string_view rest = bytes.substr(1);
  ManifestIndex read;
  if (!accepted({ExitStatus::data}, [&] { read = decode_index(bytes[0] == 0 ? std::string(rest) : sealed(rest), "an index"); })) return;
  expect(decode_index(encode_index(read), "it again") == read, "an index comes back as it was");
}

// The first two bytes: how many entries are said to be in it.
void segment(std::string_view bytes) {
  if (bytes.size() < 2) return;
  const std::string_view rest = bytes.substr(2);
  SegmentInfo info{digest_of(rest), static_cast<unsigned char>(bytes[0]) + 256U * static_cast<unsigned char>(bytes[1]), rest.size(), ""};
  std::vector<Entry> entries;
  // A segment is named by its first path too: here that is whatever it is.
  accepted({ExitStatus::data}, [&] {
    ByteReader in(rest, ExitStatus::data, "a segment");
    info.first_path = get_entry(in, "").path;
  });
  if (!accepted({ExitStatus::data}, [&] {
        SegmentReader in(std::string(rest), info, "a segment");
        Entry entry;
        while (in.next(entry)) {
          expect(why_not_a_path(entry.path) == nullptr, "what was read as a path is one");
          expect(entries.empty() || compare_paths(entries.back().path, entry.path) < 0, "entries ascend");
          entries.push_back(entry);
        }
      }))
    return;
  expect(entries.size() == info.entries, "a segment has as many entries as it is said to have");
  if (entries.empty()) return;
  SegmentWriter out;
  for (const Entry& entry : entries) out.add(entry);
  const SegmentWriter::Segment written = out.take();
  SegmentReader again(written.bytes, written.info, "it again");
  Entry entry;
  for (const Entry& same : entries) expect(again.next(entry) && entry == same, "an entry comes back as it was");
}

// For the one reader that takes a folder.
class Scratch {
 public:
  Scratch() {
    expect(::mkdtemp(name_.data()) != nullptr, "a folder can be made in /tmp");
    folder_ = Fd(::open(name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~Scratch() {
    ::unlinkat(folder_.get(), "damaged", 0);
    ::rmdir(name_.c_str());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] int with(std::string_view text) const {
    const Fd file(::openat(folder_.get(), "damaged", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    expect(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()), "a file can be written");
    return folder_.get();
  }

 private:
  std::string name_ = "/tmp/syncropy-fuzz.XXXXXX";
  Fd folder_;
};

// The first byte: whether the rest gets its checksum.
void damage(std::string_view bytes) {
  if (bytes.empty()) return;
  static const Scratch scratch;
  const DamageList list = DamageList::read(scratch.with(bytes[0] == 0 ? std::string(bytes.substr(1)) : sealed(bytes.substr(1))));
  expect(bytes.size() < 3 || bytes[0] == 0 || list.everything() ||
             bytes.substr(1).starts_with("SYNCROPY-DAMAGED-1\n"), "what is no list names everything");
  expect(list.paths().size() <= limits::damaged_paths, "a list is within its bound");
}

void packed(std::string_view bytes) {
  constexpr std::size_t bound = 1U << 20;
  std::string unpacked;
  if (accepted({ExitStatus::data}, [&] { unpacked = decompress(bytes, bound, ExitStatus::data, "a frame"); })) {
    expect(unpacked.size() <= bound, "what is unpacked is within its bound");
    expect(decompress(compress(unpacked, 1), bound, ExitStatus::data, "it again") == unpacked, "what was unpacked can be packed");
  }
  if (bytes.size() <= bound) expect(decompress(compress(bytes, 1), bound, ExitStatus::data, "packed") == bytes, "what was packed comes back");
}

std::vector<std::string> components(std::string_view path) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; !path.empty() && at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    parts.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

bool bytes_less(const std::string& left, const std::string& right) {
  return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(),
                                      [](char a, char b) { return static_cast<unsigned char>(a) < static_cast<unsigned char>(b); });
}

void names(std::string_view bytes) {
  if (const auto time = dataset_time(bytes)) {
    expect(is_dataset_name(bytes) && bytes.size() <= limits::dataset_name_bytes, "what has a time is a name");
    expect(bytes == dataset_name(*time, dataset_suffix(bytes)), "a name is built from its time and suffix again");
    expect(format_time(*time).size() == 20, "a time can be shown");
  } else {
    expect(!is_dataset_name(bytes), "what is a name has a time");
  }
  if (is_client_name(bytes)) expect(why_not_a_path(bytes) == nullptr && bytes.find('/') == std::string_view::npos, "a client's name is one folder's");
  if (const auto tier = tier_from_name(bytes)) expect(name_of(*tier) == bytes, "a tier has one name");
  if (const auto digest = digest_from_hex(bytes)) expect(bytes.size() == 64 && to_hex(*digest).size() == 64, "a digest has 64 digits");
  const std::string shown = escape(bytes), json = json_text(bytes);
  expect(shown.size() <= 4 * bytes.size(), "an escaped name has a bound");
  expect(std::none_of(shown.begin(), shown.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }),
         "an escaped name is on one line");
  expect(json.size() >= 2 && json.front() == '"' && json.back() == '"', "a JSON text has its quotes");
  static_cast<void>(capability_text(bytes));
  accepted({ExitStatus::usage}, [&] {
    const Token token = parse_token(bytes);
    expect(format_token(parse_token(format_token(token))) == format_token(token), "a token comes back as it was");
  });
  // Two paths with a newline between: the order of manifests, and who lies in whom.
  const std::size_t cut = bytes.find('\n');
  if (cut == std::string_view::npos) return;
  const std::string_view left = bytes.substr(0, cut), right = bytes.substr(cut + 1);
  if (why_not_a_path(left) != nullptr || why_not_a_path(right) != nullptr) return;
  const std::vector<std::string> a = components(left), b = components(right);
  const bool less = std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), bytes_less);
  expect((compare_paths(left, right) < 0) == less, "paths are ordered by components");
  expect((compare_paths(left, right) == 0) == (left == right), "only what is the same is equal");
  expect(is_below(left, right) == (a.size() > b.size() && std::equal(b.begin(), b.end(), a.begin())), "below is a matter of components");
  if (!left.empty()) expect(is_below(left, parent_of(left)), "a path lies in its parent");
}

constexpr std::array targets{Target{"index", index}, Target{"segment", segment}, Target{"damage", damage},
                             Target{"packed", packed}, Target{"names", names}};

}  // namespace

std::span<const Target> model_targets() { return targets; }

}  // namespace syncropy::fuzz

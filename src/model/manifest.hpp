#pragma once
// A manifest's bytes: an index that heads segments. syncropy-repository(5) specifies both; tests/golden pins them.
// Where the bytes lie is the repository's business.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/dataset.hpp"
#include "model/entry.hpp"
#include "util/bytes.hpp"

namespace syncropy {

inline constexpr std::uint32_t manifest_version = 1;

struct SegmentInfo {
  Digest digest{};                // of the segment's bytes before compression; also its file's name
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;        // before compression
  std::string first_path;         // the path of its first entry
  bool operator==(const SegmentInfo&) const = default;
};

struct ManifestIndex {
  DatasetInfo info;
  std::vector<SegmentInfo> segments;  // in order; first paths ascend
  bool operator==(const ManifestIndex&) const = default;
};

namespace limits {
inline constexpr std::size_t segment_entries = 16'384;        // cut here at the latest
inline constexpr std::size_t segment_bytes = 16U << 20;       // before compression; cut at the latest above 8 MiB
inline constexpr std::size_t manifest_segments = 10'000'000;
inline constexpr std::size_t index_bytes = 1U << 30;
}  // namespace limits

// 64-bit FNV-1a, then mixed (its low bits hardly see the last bytes): spreads paths evenly, for cutting a manifest and for taking samples of
// one. Not against an adversary, who can only make segments or samples smaller or larger within the bounds.
[[nodiscard]] std::uint64_t path_hash(std::string_view path);

[[nodiscard]] std::string encode_index(const ManifestIndex& index);
// Checks the trailing SHA-256 first. `subject` names the file in errors (ExitStatus::data).
[[nodiscard]] ManifestIndex decode_index(std::string_view bytes, std::string_view subject);

// Gathers entries in manifest order and says where a segment ends: at a folder, by a hash of its path, once there are
// a thousand entries, so that a change in one place moves no boundary elsewhere.
class SegmentWriter {
 public:
  // True when `entry` belongs to a new segment: take() what there is first. `entry` must sort after the one before
  // (Error internal otherwise).
  [[nodiscard]] bool starts_new(const Entry& entry) const;
  void add(const Entry& entry);
  [[nodiscard]] bool empty() const { return info_.entries == 0; }

  struct Segment {
    SegmentInfo info;
    std::string bytes;
  };
  [[nodiscard]] Segment take();

 private:
  ByteWriter out_;
  SegmentInfo info_;
  std::string previous_;
  bool any_ = false;
};

// Reads one segment back, checking digest, order and count. Keeps the bytes.
class SegmentReader {
 public:
  SegmentReader(std::string bytes, const SegmentInfo& info, std::string subject);
  SegmentReader(const SegmentReader&) = delete;  // its reader points into its bytes
  SegmentReader& operator=(const SegmentReader&) = delete;
  // The next entry, or false at the end.
  [[nodiscard]] bool next(Entry& entry);
  [[nodiscard]] bool at_end() const { return left_ == 0; }

 private:
  std::string bytes_;
  std::string subject_;
  std::string previous_;
  ByteReader in_;
  std::uint64_t left_;
  bool first_ = true;
};

}  // namespace syncropy

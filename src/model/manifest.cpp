#include "model/manifest.hpp"

#include <algorithm>

#include "model/codec.hpp"
#include "model/limits.hpp"

namespace syncropy {
namespace {

constexpr std::string_view index_magic = "SYNCROPY-INDEX-1\n";
constexpr std::size_t smallest_segment = 1'000;
constexpr std::size_t large_segment = 8'192;
constexpr std::size_t full_segment_bytes = 8U << 20;

void put_info(ByteWriter& out, const DatasetInfo& info) {
  out.put_string(info.client);
  out.put_byte(static_cast<std::uint8_t>(info.tier));
  out.put_string(info.name);
  out.put_unsigned(info.sequence);
  for (const Timestamp& time : {info.started, info.finished}) {
    out.put_signed(time.seconds);
    out.put_unsigned(time.nanoseconds);
  }
  out.put_byte(static_cast<std::uint8_t>(info.completeness));
  out.put_byte(info.acl ? 1 : 0);
  for (std::uint64_t count : {info.entries, info.files, info.bytes, info.new_files, info.new_bytes, info.problems}) out.put_unsigned(count);
  for (const std::vector<std::string>* list : {&info.paths, &info.excludes}) {
    out.put_unsigned(list->size());
    for (const std::string& item : *list) out.put_string(item);
  }
}

DatasetInfo get_info(ByteReader& in) {
  DatasetInfo info;
  info.client = in.string_at_most(64);
  if (!is_client_name(info.client)) in.reject("names a client that cannot be");
  const std::uint8_t tier = in.byte();
  if (tier < static_cast<int>(Tier::hour) || tier > static_cast<int>(Tier::month)) in.reject("names a tier that cannot be");
  info.tier = static_cast<Tier>(tier);
  info.name = in.string_at_most(64);
  if (!is_dataset_name(info.name)) in.reject("names a dataset that cannot be");
  info.sequence = in.unsigned_at_most(INT64_MAX);
  if (info.sequence == 0) in.reject("has sequence 0");
  for (Timestamp* time : {&info.started, &info.finished}) {
    time->seconds = in.signed_any();
    time->nanoseconds = static_cast<std::uint32_t>(in.unsigned_at_most(999'999'999));
  }
  const std::uint8_t completeness = in.byte();
  if (completeness < 1 || completeness > 2) in.reject("is neither complete nor partial");
  info.completeness = static_cast<Completeness>(completeness);
  info.acl = in.byte() != 0;
  for (std::uint64_t* count : {&info.entries, &info.files, &info.bytes, &info.new_files, &info.new_bytes, &info.problems}) *count = in.unsigned_any();
  info.paths.resize(in.unsigned_at_most(limits::dataset_paths));
  for (std::string& path : info.paths) {
    path = in.string_at_most(limits::path_bytes);
    if (why_not_a_path(path) != nullptr) in.reject("names a path that cannot be");
  }
  info.excludes.resize(in.unsigned_at_most(limits::dataset_patterns));
  for (std::string& pattern : info.excludes) pattern = in.string_at_most(limits::dataset_pattern_bytes);
  return info;
}

}  // namespace

std::uint64_t path_hash(std::string_view path) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (char c : path) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001B3U;
  hash = (hash ^ hash >> 33) * 0xFF51AFD7ED558CCDU;
  return hash ^ hash >> 33;
}

std::string encode_index(const ManifestIndex& index) {
  ByteWriter out;
  out.put_raw(index_magic);
  put_info(out, index.info);
  out.put_unsigned(index.segments.size());
  for (const SegmentInfo& segment : index.segments) {
    out.put_raw(as_bytes(segment.digest));
    out.put_unsigned(segment.entries);
    out.put_unsigned(segment.bytes);
    out.put_string(segment.first_path);
  }
  out.put_raw(as_bytes(digest_of(out.view())));
  return out.take();
}

ManifestIndex decode_index(std::string_view bytes, std::string_view subject) {
  if (bytes.substr(0, index_magic.size()) != index_magic)
    throw Error(ExitStatus::data, std::string(subject) + ": is not a manifest index of version 1", "restore it from a copy, or delete this dataset");
  if (bytes.size() < index_magic.size() + SHA256_DIGEST_SIZE || as_bytes(digest_of(bytes.substr(0, bytes.size() - SHA256_DIGEST_SIZE))) != bytes.substr(bytes.size() - SHA256_DIGEST_SIZE))
    throw Error(ExitStatus::data, std::string(subject) + ": its checksum does not fit its content", "restore it from a copy, or delete this dataset");
  ByteReader in(bytes.substr(index_magic.size(), bytes.size() - index_magic.size() - SHA256_DIGEST_SIZE), ExitStatus::data, subject);
  ManifestIndex index;
  index.info = get_info(in);
  std::uint64_t entries = 0;
  const std::uint64_t count = in.unsigned_at_most(limits::manifest_segments);
  for (std::uint64_t i = 0; i < count; ++i) {
    SegmentInfo segment;
    const std::string_view digest = in.raw(SHA256_DIGEST_SIZE);
    std::copy(digest.begin(), digest.end(), segment.digest.begin());
    segment.entries = in.unsigned_at_most(limits::segment_entries);
    segment.bytes = in.unsigned_at_most(limits::segment_bytes);
    segment.first_path = in.string_at_most(limits::path_bytes);
    if (segment.entries == 0 || (i > 0 && compare_paths(index.segments.back().first_path, segment.first_path) >= 0)) in.reject("lists segments that are empty or out of order");
    entries += segment.entries;
    index.segments.push_back(std::move(segment));
  }
  in.expect_end();
  if (entries != index.info.entries) in.reject("counts " + std::to_string(index.info.entries) + " entries where its segments have " + std::to_string(entries));
  return index;
}

bool SegmentWriter::starts_new(const Entry& entry) const {
  if (info_.entries < smallest_segment && out_.size() < full_segment_bytes) return false;
  if (info_.entries >= limits::segment_entries || out_.size() >= full_segment_bytes) return true;
  const std::uint64_t hash = path_hash(entry.path);
  if (entry.stat.type == FileType::folder && hash % 16 == 0) return true;
  return info_.entries >= large_segment && hash % 256 == 0;  // one folder of very many files
}

void SegmentWriter::add(const Entry& entry) {
  if (any_ && compare_paths(previous_, entry.path) >= 0)
    throw Error(ExitStatus::internal, "entries reach the manifest out of order");
  if (info_.entries == 0) {
    info_.first_path = entry.path;
    put_entry(out_, entry, {});
  } else {
    put_entry(out_, entry, previous_);
  }
  ++info_.entries;
  previous_ = entry.path;
  any_ = true;
}

SegmentWriter::Segment SegmentWriter::take() {
  Segment segment{std::move(info_), out_.take()};
  segment.info.bytes = segment.bytes.size();
  segment.info.digest = digest_of(segment.bytes);
  info_ = {};
  out_.clear();
  return segment;
}

SegmentReader::SegmentReader(std::string bytes, const SegmentInfo& info, std::string subject)
    : bytes_(std::move(bytes)), subject_(std::move(subject)), in_(bytes_, ExitStatus::data, subject_), left_(info.entries) {
  if (bytes_.size() != info.bytes || digest_of(bytes_) != info.digest) in_.reject("its content does not fit its digest");
}

bool SegmentReader::next(Entry& entry) {
  if (left_ == 0) {
    in_.expect_end();
    return false;
  }
  entry = get_entry(in_, previous_);
  if (!first_ && compare_paths(previous_, entry.path) >= 0) in_.reject("its entries are out of order");
  first_ = false;
  --left_;
  previous_ = entry.path;
  return true;
}

}  // namespace syncropy

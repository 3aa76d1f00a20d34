#include "model/manifest.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/support/entries.hpp"

namespace syncropy {
namespace {

std::vector<SegmentWriter::Segment> cut(const std::vector<Entry>& entries) {
  SegmentWriter writer;
  std::vector<SegmentWriter::Segment> segments;
  for (const Entry& entry : entries) {
    if (!writer.empty() && writer.starts_new(entry)) segments.push_back(writer.take());
    writer.add(entry);
  }
  segments.push_back(writer.take());
  return segments;
}

std::vector<Entry> large_tree(int folders, int files) {
  std::vector<Entry> entries{folder_entry("")};
  for (int d = 0; d < folders; ++d) {
    entries.push_back(folder_entry("folder" + std::to_string(d)));
    for (int f = 0; f < files; ++f) entries.push_back(file_entry(entries.back().stat.type == FileType::folder ? entries.back().path + "/file" + std::to_string(f) : "folder" + std::to_string(d) + "/file" + std::to_string(f), "x"));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& l, const Entry& r) { return compare_paths(l.path, r.path) < 0; });
  return entries;
}

ManifestIndex index_of(const std::vector<SegmentWriter::Segment>& segments) {
  ManifestIndex index;
  index.info.client = "web1";
  index.info.name = "2026-11-22T190500Z";
  index.info.sequence = 7;
  index.info.started = {1'795'374'300, 1};
  index.info.finished = {1'795'374'399, 2};
  for (const auto& segment : segments) {
    index.segments.push_back(segment.info);
    index.info.entries += segment.info.entries;
  }
  return index;
}

TEST(Manifest, SegmentsHoldAllEntriesWithinTheirBounds) {
  const std::vector<Entry> entries = large_tree(2'000, 20);
  std::vector<Entry> back;
  for (const auto& segment : cut(entries)) {
    EXPECT_LE(segment.info.entries, limits::segment_entries);
    SegmentReader reader(segment.bytes, segment.info, "a test");
    Entry entry;
    while (reader.next(entry)) back.push_back(entry);
  }
  EXPECT_EQ(back, entries);
}

TEST(Manifest, OneFolderOfVeryManyFilesIsCutToo) {
  for (const auto& segment : cut(large_tree(1, 60'000))) EXPECT_LE(segment.info.entries, limits::segment_entries);
}

// What makes 46 datasets of a quiet client cost one manifest.
TEST(Manifest, AChangeInOnePlaceLeavesTheOtherSegmentsAlone) {
  std::vector<Entry> entries = large_tree(2'000, 20);
  const auto before = cut(entries);
  entries[10'000].stat.mtime.seconds += 1;
  entries.insert(entries.begin() + 30'000, file_entry(entries[30'000 - 1].path + "+", "new"));
  const auto after = cut(entries);
  std::set<Digest> known;
  for (const auto& segment : before) known.insert(segment.info.digest);
  const auto fresh = std::count_if(after.begin(), after.end(), [&](const auto& segment) { return !known.contains(segment.info.digest); });
  EXPECT_GT(before.size(), 10U);
  EXPECT_LE(fresh, 3);
  EXPECT_GE(fresh, 1);
}

TEST(Manifest, TheIndexComesBackAndKnowsEveryDamage) {
  const ManifestIndex index = index_of(cut(large_tree(300, 20)));
  const std::string bytes = encode_index(index);
  EXPECT_EQ(decode_index(bytes, "a test"), index);
  for (std::size_t at = 0; at < bytes.size(); at += 7) {
    std::string bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_THROW(static_cast<void>(decode_index(bad, "a test")), Error) << at;
  }
  EXPECT_THROW(static_cast<void>(decode_index(bytes.substr(0, bytes.size() - 1), "a test")), Error);
  EXPECT_THROW(static_cast<void>(decode_index("", "a test")), Error);
}

TEST(Manifest, ASegmentKnowsEveryDamage) {
  const auto segments = cut(one_of_each());
  for (std::size_t at = 0; at < segments[0].bytes.size(); ++at) {
    std::string bad = segments[0].bytes;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    EXPECT_THROW(SegmentReader(bad, segments[0].info, "a test"), Error);
  }
}

TEST(Manifest, EntriesOutOfOrderNeverGetIn) {
  SegmentWriter writer;
  writer.add(folder_entry("b"));
  EXPECT_THROW(writer.add(folder_entry("a")), Error);
  EXPECT_THROW(writer.add(folder_entry("b")), Error);
}

}  // namespace
}  // namespace syncropy

#pragma once
// Where a manifest's bytes lie: folder manifest/ of a dataset, with `index` and one compressed file per segment, named by the digest of
// the segment before compression. A segment that the dataset before has too is a hard link to it.

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "model/manifest.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {

// The status of a failure to open or read what belongs to a dataset: data where that says something about the dataset, io where it does not
// (out of descriptors or memory).
[[nodiscard]] ExitStatus damage_status(int code);

// Errors begin with `subject`, the dataset's path for people, and are ExitStatus::data; but io where the disk fails or damage_status() says so.
[[nodiscard]] ManifestIndex read_index(int manifest_folder, const std::string& subject);

// The name of a segment's file in the manifest folder.
[[nodiscard]] std::string segment_file(const Digest& digest);
// Reads a segment; `subject` and errors as of read_index(), except that what the disk does not give back is ExitStatus::data.
[[nodiscard]] std::unique_ptr<SegmentReader> open_segment(int manifest_folder, const SegmentInfo& info, const std::string& subject);

// The segments of a manifest that is still being written: one thread adds them, another reads behind it.
class SegmentFeed {
 public:
  void add(SegmentInfo segment);
  void finish();   // no more come
  void abandon();  // there will be no manifest: the reader gets an Error
  // Segment `number`, waiting until it is written; null where the manifest has fewer.
  [[nodiscard]] const SegmentInfo* wait_for(std::size_t number);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<SegmentInfo> segments_;  // an element never moves
  bool finished_ = false, abandoned_ = false;
};

// Entries of a manifest in order.
class ManifestReader {
 public:
  ManifestReader(Fd manifest_folder, std::string subject);
  // Of a manifest in the making, which has no index yet. `feed` outlives this.
  ManifestReader(Fd manifest_folder, std::string subject, SegmentFeed& feed);
  [[nodiscard]] const ManifestIndex& index() const { return index_; }
  [[nodiscard]] bool next(Entry& entry);
  // The segment that the next entry begins; null inside a segment and at the end.
  [[nodiscard]] const SegmentInfo* at_segment() const;
  void skip_segment();
  // The next entry is the first of segment `number` of the index.
  void go_to_segment(std::size_t number);
  // Skips whole segments before the one that `path` can be in; only before the first next(), and where there is an index.
  void seek(std::string_view path);

 private:
  [[nodiscard]] const SegmentInfo* segment(std::size_t number) const;

  Fd folder_;
  std::string subject_;
  ManifestIndex index_;
  SegmentFeed* feed_ = nullptr;
  std::size_t next_segment_ = 0;
  std::unique_ptr<SegmentReader> reader_;
};

class ManifestWriter {
 public:
  // `previous`: the manifest folder of the dataset before, to share segments with, and its index (read here, not kept); null and empty
  // where there is none. `feed`, which outlives this, learns of each segment that is written; may be null.
  ManifestWriter(Fd manifest_folder, const ManifestIndex* previous_index, Fd previous_folder, SegmentFeed* feed);
  void add(const Entry& entry);
  // Writes the last segment and the index. `info.entries` must be the number of entries added.
  void finish(const DatasetInfo& info);

 private:
  void write_segment();

  Fd folder_;
  std::unordered_set<std::string> previous_digests_;  // as hexadecimal digits
  Fd previous_folder_;
  SegmentWriter writer_;
  ManifestIndex index_;
  SegmentFeed* feed_;
};

// What one manifest has and another has not, segment by segment: equal segments are not read.
struct ManifestChanges {
  std::function<void(const Entry&)> gone;                         // only in `before`
  std::function<void(const Entry&, const Entry&)> changed;        // before, after: differ in anything but the flag racy
  std::function<void(const Entry&)> added;                        // only in `after`
};
void compare_manifests(ManifestReader& before, ManifestReader& after, const ManifestChanges& changes);

}  // namespace syncropy

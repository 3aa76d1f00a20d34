#include "repository/manifest-store.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "util/compress.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr const char* index_name = "index";
constexpr int manifest_level = 3;

}  // namespace

std::string segment_file(const Digest& digest) { return to_hex(digest) + ".zst"; }

std::unique_ptr<SegmentReader> open_segment(int manifest_folder, const SegmentInfo& info, const std::string& dataset) {
  const std::string name = segment_file(info.digest), subject = dataset + "/manifest/" + name;
  std::string packed;
  try {
    packed = read_file(manifest_folder, name, limits::segment_bytes, ExitStatus::data);
  } catch (const SystemError& error) {
    if (damage_status(error.code()) != ExitStatus::data)
      throw Error(ExitStatus::io, subject + ": could not be read now (" + error.what() + ")", error.remedy());
    throw Error(ExitStatus::data, subject + ": cannot be read (" + error.what() + ")", "restore it from a copy, or delete this dataset");
  }
  return std::make_unique<SegmentReader>(decompress(packed, limits::segment_bytes, ExitStatus::data, subject), info, subject);
}

ExitStatus damage_status(int code) { return code == EMFILE || code == ENFILE || code == ENOMEM ? ExitStatus::io : ExitStatus::data; }

ManifestIndex read_index(int manifest_folder, const std::string& subject) {
  try {
    return decode_index(read_file(manifest_folder, index_name, limits::index_bytes, ExitStatus::data), subject + "/manifest/index");
  } catch (const SystemError& error) {
    if (error.status() == ExitStatus::io || damage_status(error.code()) != ExitStatus::data)
      throw Error(ExitStatus::io, subject + ": its manifest could not be read now (" + error.what() + ")", error.remedy());
    throw Error(ExitStatus::data, subject + ": its manifest cannot be read (" + error.what() + ")", "restore it from a copy, or delete this dataset");
  }
}

void SegmentFeed::add(SegmentInfo segment) {
  const std::lock_guard lock(mutex_);
  segments_.push_back(std::move(segment));
  changed_.notify_all();
}

void SegmentFeed::finish() {
  const std::lock_guard lock(mutex_);
  finished_ = true;
  changed_.notify_all();
}

void SegmentFeed::abandon() {
  const std::lock_guard lock(mutex_);
  abandoned_ = true;
  changed_.notify_all();
}

const SegmentInfo* SegmentFeed::wait_for(std::size_t number) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return abandoned_ || finished_ || number < segments_.size(); });
  if (abandoned_) throw Error(ExitStatus::internal, "the manifest that was being read is not written to its end");
  return number < segments_.size() ? &segments_[number] : nullptr;
}

ManifestReader::ManifestReader(Fd manifest_folder, std::string subject)
    : folder_(std::move(manifest_folder)), subject_(std::move(subject)), index_(read_index(folder_.get(), subject_)) {}

ManifestReader::ManifestReader(Fd manifest_folder, std::string subject, SegmentFeed& feed)
    : folder_(std::move(manifest_folder)), subject_(std::move(subject)), feed_(&feed) {}

const SegmentInfo* ManifestReader::segment(std::size_t number) const {
  if (feed_ != nullptr) return feed_->wait_for(number);
  return number < index_.segments.size() ? &index_.segments[number] : nullptr;
}

bool ManifestReader::next(Entry& entry) {
  for (;;) {
    if (reader_ && reader_->next(entry)) return true;
    reader_.reset();
    const SegmentInfo* info = segment(next_segment_);
    if (info == nullptr) return false;
    ++next_segment_;
    reader_ = open_segment(folder_.get(), *info, subject_);
  }
}

const SegmentInfo* ManifestReader::at_segment() const {
  return reader_ && !reader_->at_end() ? nullptr : segment(next_segment_);
}

void ManifestReader::go_to_segment(std::size_t number) {
  reader_.reset();
  next_segment_ = number;
}

void ManifestReader::skip_segment() {
  reader_.reset();
  ++next_segment_;
}

void ManifestReader::seek(std::string_view path) {
  while (next_segment_ + 1 < index_.segments.size() && compare_paths(index_.segments[next_segment_ + 1].first_path, path) <= 0) ++next_segment_;
}

ManifestWriter::ManifestWriter(Fd manifest_folder, const ManifestIndex* previous_index, Fd previous_folder, SegmentFeed* feed)
    : folder_(std::move(manifest_folder)), previous_folder_(std::move(previous_folder)), feed_(feed) {
  if (previous_index != nullptr)
    for (const SegmentInfo& segment : previous_index->segments) previous_digests_.insert(to_hex(segment.digest));
}

void ManifestWriter::add(const Entry& entry) {
  if (!writer_.empty() && writer_.starts_new(entry)) write_segment();
  writer_.add(entry);
}

void ManifestWriter::write_segment() {
  SegmentWriter::Segment segment = writer_.take();
  const std::string name = segment_file(segment.info.digest);
  const bool shared = previous_digests_.contains(to_hex(segment.info.digest)) &&
                      ::linkat(previous_folder_.get(), name.c_str(), folder_.get(), name.c_str(), 0) == 0;
  if (!shared) create_file(folder_.get(), name, compress(segment.bytes, manifest_level), 0400);
  if (feed_ != nullptr) feed_->add(segment.info);
  index_.segments.push_back(std::move(segment.info));
}

void ManifestWriter::finish(const DatasetInfo& info) {
  if (!writer_.empty()) write_segment();
  index_.info = info;
  create_file(folder_.get(), index_name, encode_index(index_), 0400);
}

void compare_manifests(ManifestReader& before, ManifestReader& after, const ManifestChanges& changes) {
  Entry old_entry, new_entry;
  bool have_old = false, have_new = false;
  auto pull = [](ManifestReader& reader, Entry& entry, bool& have) { have = have || reader.next(entry); };
  for (;;) {
    if (!have_old && !have_new) {
      const SegmentInfo *left = before.at_segment(), *right = after.at_segment();
      if (left != nullptr && right != nullptr && left->digest == right->digest) {
        before.skip_segment();
        after.skip_segment();
        continue;
      }
    }
    pull(before, old_entry, have_old);
    pull(after, new_entry, have_new);
    if (!have_old && !have_new) return;
    const auto order = !have_old   ? std::strong_ordering::greater
                       : !have_new ? std::strong_ordering::less
                                   : compare_paths(old_entry.path, new_entry.path);
    if (order < 0) {
      changes.gone(old_entry);
      have_old = false;
    } else if (order > 0) {
      changes.added(new_entry);
      have_new = false;
    } else {
      old_entry.flags &= static_cast<std::uint8_t>(~racy);  // says how it was read, not what it is
      Entry plain = new_entry;
      plain.flags &= static_cast<std::uint8_t>(~racy);
      if (!(old_entry == plain)) changes.changed(old_entry, new_entry);
      have_old = have_new = false;
    }
  }
}

}  // namespace syncropy

#include "server/moved.hpp"

#include <algorithm>
#include <bit>

#include "util/error.hpp"

namespace syncropy {

static_assert(limits::segment_entries <= UINT16_MAX);

MovedFiles::MovedFiles(Fd manifest_folder, std::string subject, std::size_t most) : reader_(std::move(manifest_folder), std::move(subject)) {
  Entry entry;
  for (std::uint32_t segment = 0; reader_.at_segment() != nullptr; ++segment) {
    for (std::uint16_t index = 0; (index == 0 || reader_.at_segment() == nullptr) && reader_.next(entry); ++index) {
      if (entry.stat.type != FileType::regular || !entry.digest) continue;
      const auto magnitude = static_cast<std::uint8_t>(std::bit_width(entry.stat.size));
      if (magnitude < least_magnitude_) continue;
      if (places_.size() == most) thin_out(most);
      if (magnitude >= least_magnitude_) places_.push_back({entry.stat.inode, segment, index, magnitude});
    }
  }
  std::sort(places_.begin(), places_.end(), [](const Place& l, const Place& r) { return l.inode < r.inode; });
}

// Makes room by leaving the smallest out: they cost least to transfer.
void MovedFiles::thin_out(std::size_t most) {
  do {
    ++least_magnitude_;
    std::erase_if(places_, [this](const Place& place) { return place.magnitude < least_magnitude_; });
  } while (places_.size() > most / 2);
}

std::optional<Entry> MovedFiles::find(const Stat& stat) {
  if (stat.type != FileType::regular || std::bit_width(stat.size) < least_magnitude_) return std::nullopt;
  auto at = std::lower_bound(places_.begin(), places_.end(), stat.inode, [](const Place& place, std::uint64_t inode) { return place.inode < inode; });
  for (; at != places_.end() && at->inode == stat.inode; ++at) {
    const Entry& entry = entry_at(*at);
    if (entry.stat.size == stat.size && entry.stat.mtime == stat.mtime) return entry;
  }
  return std::nullopt;
}

const Entry& MovedFiles::entry_at(const Place& place) {
  if (segment_ != place.segment) {
    segment_.reset();
    entries_.clear();
    reader_.go_to_segment(place.segment);
    Entry entry;
    while ((entries_.empty() || reader_.at_segment() == nullptr) && reader_.next(entry)) entries_.push_back(std::move(entry));
    segment_ = place.segment;
  }
  return entries_.at(place.index);
}

}  // namespace syncropy

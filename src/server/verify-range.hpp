#pragma once
// One thread of a verification. It takes a range of paths after the other and looks at it in all datasets before the next: so that what they
// share is met at about the same time, and is remembered no longer than that.

#include <sys/stat.h>

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/verify-findings.hpp"
#include "util/fd.hpp"

namespace syncropy {

class VerifyRange {
 public:
  // All outlive this. `on_bytes` is told what is read, and ends the work by a throw.
  VerifyRange(const ClientStore& store, std::deque<VerifyDataset>& datasets, const VerifySlice& slice, VerifyFindings& findings,
              VerifyProgress& progress, std::function<void(std::uint64_t)> on_bytes)
      : store_(store), datasets_(datasets), slice_(slice), findings_(findings), progress_(progress), on_bytes_(std::move(on_bytes)) {}

  // The paths from `begin` on, and before `end`, or to the last where that is null. In no dataset does a segment begin between the two.
  void check(const std::string& begin, const std::string* end);
  // A folder of which check() could not see all: `names` of it were met.
  void check_count(std::size_t dataset, const std::string& folder, std::uint64_t names);

  [[nodiscard]] std::uint64_t split() const { return split_; }

 private:
  struct Level {                // a folder on the way to the current path
    std::string path;
    Fd fd;                      // opened when something in it is looked at
    bool opened = false;
    bool begun = false;         // its entry, and so all that is in it, is in this range
    bool wanted = false;
    std::uint64_t names = 0;    // met in it
  };
  void check_in(std::size_t index, const std::string& begin, const std::string* end);
  [[nodiscard]] Fd open_dataset(VerifyDataset& dataset) const;
  [[nodiscard]] bool load(VerifyDataset& dataset, int folder, const SegmentInfo& segment, bool begins);
  void check_entry(std::size_t index, const Entry& entry);
  void check_regular(VerifyDataset& dataset, int folder, const Entry& entry, const struct stat& st);
  void remember_what_goes_on();
  [[nodiscard]] int folder_of(VerifyDataset& dataset, Level& level);
  void leave_to(std::size_t index, std::string_view folder);
  void compare_count(VerifyDataset& dataset, const std::string& folder, int fd, std::uint64_t names);
  void find_unexpected(VerifyDataset& dataset, const std::string& folder, int fd);

  const ClientStore& store_;
  std::deque<VerifyDataset>& datasets_;
  const VerifySlice& slice_;
  VerifyFindings& findings_;
  VerifyProgress& progress_;
  const std::function<void(std::uint64_t)> on_bytes_;

  // The segment that was read last: datasets share most.
  Digest digest_{};
  std::vector<Entry> entries_;
  std::vector<std::uint64_t> files_;  // inodes that hold it, as far as they were read
  struct Read {
    StoredState state;
    std::uint64_t links = 0, names = 0;  // that the stored file has, and that were met
  };
  std::unordered_map<StoredKey, Read, StoredKeyHash> read_;  // in this range
  std::vector<Level> levels_;
  std::uint64_t split_ = 0;
};

}  // namespace syncropy

#pragma once
// Files of the dataset before, found again by their inode: what was renamed, or lies in a folder that was, is linked and not transferred.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/entry.hpp"
#include "repository/manifest-store.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::size_t moved_places = 4U << 20;  // files that are looked for, 16 bytes each; of more than that, the larger ones
}  // namespace limits

class MovedFiles {
 public:
  // Reads the whole manifest (0.1 s for 200,000 entries). Throws what ManifestReader throws. `most`: of places.
  MovedFiles(Fd manifest_folder, std::string subject, std::size_t most = limits::moved_places);
  // A regular file with this inode, size and mtime, with content. It is the same file if its digest is, which only the agent can tell: inode
  // numbers are given again. Lookups in the manifest's order are the fast ones.
  [[nodiscard]] std::optional<Entry> find(const Stat& stat);

 private:
  struct Place {
    std::uint64_t inode;
    std::uint32_t segment;
    std::uint16_t index;      // in the segment
    std::uint8_t magnitude;   // of the size: its binary digits
  };
  void thin_out(std::size_t most);
  [[nodiscard]] const Entry& entry_at(const Place& place);

  ManifestReader reader_;
  std::vector<Place> places_;     // by inode
  std::uint8_t least_magnitude_ = 1;
  std::optional<std::uint32_t> segment_;
  std::vector<Entry> entries_;    // of that segment
};

}  // namespace syncropy

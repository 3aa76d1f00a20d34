#pragma once
// One folder of a walk: its names, sorted, each with its stat. Knows nothing of threads; walk.cpp says who reads what.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"
#include "scan/excludes.hpp"
#include "util/fd.hpp"

namespace syncropy {

struct WalkChild {
  Stat stat;
  std::uint32_t name_at = 0;    // in WalkFolder::names
  std::uint32_t subfolder = 0;  // 1 + index in WalkFolder::subfolders; 0: nothing to descend into
  std::uint16_t name_size = 0;
  std::uint8_t kind = 0;        // d_type of readdir(3)
  bool gone = false;            // vanished, or excluded: passed over
  int code = 0;                 // errno of its stat
};

struct WalkFolder {
  // Set by whoever found it.
  WalkFolder* parent = nullptr;     // none: a wanted path
  std::string_view name;            // within the parent (a NUL follows); the path of a wanted path
  Stat stat;                        // replaced where it turns out to be something else by now
  unsigned depth = 0;               // components of its path
  std::size_t path_size = 0;        // bytes of its path
  bool crosses = false;             // lies on another filesystem than its parent
  Excludes::Position position;

  // Set by FolderReader.
  std::string names;                // one after the other, each with its NUL
  std::vector<WalkChild> children;  // ascending by name, each name once
  std::vector<std::uint32_t> by_inode;  // large folders: the order to stat children in
  std::vector<std::unique_ptr<WalkFolder>> subfolders;
  bool vanished = false;
  int code = 0;                     // errno: could not be opened or read to its end
  const char* tried = "";
  std::size_t unread_children = 0;  // those with a code

  // Belongs to the walk, under its lock.
  enum class State : std::uint8_t { waiting, reading, done } state = State::waiting;
  WalkFolder *before = nullptr, *after = nullptr;
  std::shared_ptr<const Fd> fd;     // while needed and affordable
  std::size_t unopened = 0;         // subfolders that may still be opened beneath `fd`
  std::size_t next_chunk = 0, chunks = 0, chunks_left = 0;

  [[nodiscard]] std::string_view name_of(const WalkChild& child) const { return {names.data() + child.name_at, child.name_size}; }
};

// The path of `folder` below its ancestor `from`; with none, beneath the walk's root.
[[nodiscard]] std::string path_below(const WalkFolder& folder, const WalkFolder* from);

// Reads folders; one per thread, for its buffers.
class FolderReader {
 public:
  // At most this many entries are given a stat by one thread before others can help.
  static constexpr std::size_t chunk_entries = 1'024;

  FolderReader(const Excludes& excludes, bool one_file_system, unsigned max_depth);

  // Opens `folder` by `path` beneath `base`; `path` "" means that `base` is its parent, open. Without a descriptor, the
  // folder is done: not to be read (a kernel filesystem), vanished, something else by now, or unreadable (code, tried).
  // Throws SystemError(io) when the process or the machine has no descriptor or memory left: a hole that nobody made.
  [[nodiscard]] Fd open(WalkFolder& folder, int base, const std::string& path);
  // Fills names and children from `fd`, without their stats.
  void list(WalkFolder& folder, int fd);
  // Gives the children of one chunk (from 0, chunk_entries each) their stats. Different chunks may be at work at once.
  static void stat_chunk(WalkFolder& folder, int fd, std::size_t chunk, const Excludes& excludes);
  // With all stats there: finds the subfolders.
  void finish(WalkFolder& folder) const;

 private:
  struct Name {
    std::uint64_t key;  // the first eight bytes as a big-endian number: most comparisons end here
    std::uint64_t inode;
    std::size_t at;
    std::uint16_t size;
    std::uint8_t kind;
  };
  const Excludes& excludes_;
  const bool one_file_system_;
  const unsigned max_depth_;
  std::vector<char> buffer_;
  std::vector<Name> found_;
  std::string found_names_;
};

// Whether the filesystem of `fd` (O_PATH will do) is the kernel's own and holds nothing to back up: proc, sysfs, cgroup, ...
[[nodiscard]] bool is_kernel_filesystem(int fd);

}  // namespace syncropy

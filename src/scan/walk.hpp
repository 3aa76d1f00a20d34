#pragma once
// The listing: every entry below the wanted paths in manifest order, one statx(2) each.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"

namespace syncropy {

struct WalkRequest {
  int root = -1;                          // descriptor of the folder that entry paths are relative to ("/" in life, a test's folder in tests)
  std::vector<std::string> paths;         // relative, sorted by compare_paths, none inside another; "" is the root. Their ancestors are listed too, as
                                          // folders without other children
  std::vector<std::string> excludes;      // patterns: with a leading '/', matched against the whole path ("/" + entry path); else against the name.
                                          // fnmatch(3) with FNM_PATHNAME; '**' as a component matches any number of components. An excluded folder
                                          // is left out with all that is in it
  std::vector<std::string> denied;        // relative paths, left out like excluded ones
  bool one_file_system = false;           // do not descend into another filesystem than the wanted path's own (its mount point is listed)
  unsigned threads = 2;
  unsigned max_depth = 1'000;
};

struct WalkProblem {
  std::string path;
  int code;             // errno
  std::string tried;    // "open", "read", "stat"
};

// The receiver of a walk. Called from the thread that called walk(), in order; a throw ends the walk and passes through.
class WalkSink {
 public:
  virtual ~WalkSink() = default;
  // `path` is valid during the call. `unread`: the folder could not be opened or read to its end; a problem follows.
  virtual void entry(std::string_view path, const Stat& stat, bool unread) = 0;
  virtual void problem(const WalkProblem& problem) = 0;
};

// Names that vanish during the walk are passed over. Kernel filesystems (proc, sysfs, cgroup, devpts, debugfs, ... by f_type) met at a mount point
// below a wanted path are listed as an empty folder and not descended into. No symbolic link is followed. Throws Error(no_input) for a wanted path
// that does not exist and for one that passes through a symbolic link (naming both), Error(refused) where it may not be reached.
// Memory is bounded by the deepest path and the largest folders on it, plus a read-ahead of 65,536 entries.
void walk(const WalkRequest& request, WalkSink& sink);

}  // namespace syncropy

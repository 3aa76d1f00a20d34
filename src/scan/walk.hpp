#pragma once
// The listing: every entry below the wanted paths in manifest order, one statx(2) each.

#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"

namespace syncropy {

struct WalkRequest {
  int root = -1;                      // the folder that entry paths are relative to ("/" in life), open; stays the caller's
  std::vector<std::string> paths;     // relative, in any order; "" is the root; one that lies in another adds nothing. Their
                                      // ancestors are listed too, as folders without other children
  std::vector<std::string> excludes;  // patterns, as scan/excludes.hpp describes them. They count below a wanted path: one that
                                      // matches a wanted path or its parents takes nothing away
  std::vector<std::string> denied;    // relative paths, left out with all that is in them
  bool one_file_system = false;       // do not descend into another filesystem than the wanted path's own (its mount point is
                                      // listed as an empty folder)
  unsigned threads = 2;               // that read, the calling one among them; 1: no other is started. At most 64
  unsigned max_depth = 1'000;         // components of a path
};

struct WalkProblem {
  std::string path;
  int code;           // errno
  std::string tried;  // "open", "read", "search", "descend into", "stat"
};

// The receiver of a walk. Called from the thread that called walk(), in order; a throw ends the walk and passes through.
class WalkSink {
 public:
  virtual ~WalkSink() = default;
  // `path` is valid during the call. `unread`: the folder could not be opened, read to its end or searched, so there may be
  // more in it than follows; a problem comes next, before its content.
  virtual void entry(std::string_view path, const Stat& stat, bool unread) = 0;
  // Either of the folder that was the last entry, or (tried "stat") of a name in it that has no entry of its own.
  virtual void problem(const WalkProblem& problem) = 0;
};

// Lists everything once, each folder before its content, strictly ascending by compare_paths.
//
// - Names that vanish during the walk are passed over; no symbolic link is followed; no automount is triggered below a wanted
//   path. A folder that is no folder any more when it is opened is listed as what it is then.
// - Kernel filesystems (proc, sysfs, cgroup, devpts, debugfs, autofs, ... by f_type) mounted below a wanted path are listed as
//   an empty folder. A wanted path that lies on one is read.
// - A folder that cannot be opened or read is an entry with `unread` and a problem, and the walk goes on. So is one at
//   `max_depth` that is not empty.
//
// Throws Error(no_input) before the first entry for a wanted path that does not exist or passes through a symbolic link
// (naming both), Error(refused) for one that may not be reached or is denied, Error(config) for a bad pattern, and SystemError(io)
// when the process runs out of descriptors or memory: nothing is left out in silence.
//
// Memory is bounded by the deepest path and the largest folders on it, plus a read-ahead of 65,536 entries. At most half of
// RLIMIT_NOFILE, and never more than 512 descriptors, are held; a tree that would need more is opened by longer paths.
void walk(const WalkRequest& request, WalkSink& sink);

}  // namespace syncropy

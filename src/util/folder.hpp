#pragma once
// Folders beneath a held root. Names come from a client: each is resolved by openat2(2) beneath a descriptor, with no
// symbolic link followed and no way out; nothing is joined into a path string and opened.

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

#include "util/fd.hpp"

namespace syncropy {

// Opens `path` (relative, "" = the root itself, any length) beneath `root` with O_NOFOLLOW and RESOLVE_BENEATH |
// RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS. Returns an empty Fd and sets errno on failure (ELOOP: a symbolic link
// on the way or at the end unless `flags` has O_PATH; EXDEV: a way out).
[[nodiscard]] Fd open_beneath(int root, std::string_view path, int flags, mode_t mode = 0);

// A position in a tree that moves in manifest order: keeps the folders from the root to the current one open, so that
// moving to a neighbour costs the components that differ. At most `limits::path_depth` descriptors.
class FolderCursor {
 public:
  explicit FolderCursor(Fd root) : root_(std::move(root)) {}
  // A descriptor (O_RDONLY | O_DIRECTORY) of folder `path` ("" = root), owned by the cursor and valid until the next
  // call. -1 and errno where it cannot be opened.
  [[nodiscard]] int move_to(std::string_view path);
  // Forgets folder `path` and all below: it was renamed or removed.
  void forget(std::string_view path);

 private:
  struct Level {
    std::size_t path_length;
    Fd fd;
  };
  Fd root_;
  std::string path_;
  std::vector<Level> levels_;
};

}  // namespace syncropy

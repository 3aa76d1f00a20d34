#pragma once
// A tree being built beneath staging/tree, from the tree of the dataset before and from what the agent sends.

#include <string>
#include <string_view>

#include "model/entry.hpp"
#include "repository/file-sink.hpp"
#include "util/folder.hpp"

namespace syncropy {

enum class LinkResult {
  linked,
  copy_needed,  // the inode has all the links its filesystem allows (EMLINK), or lies on another one (EXDEV)
  missing,      // the stored file is not there or is not what its manifest says: it must be fetched
};

// Not thread-safe: each worker has one of its own. Paths are entries' paths; their parents must have been made before.
class TreeBuilder {
 public:
  // `previous`: the tree/ of the dataset before; may be empty.
  TreeBuilder(const Fd& tree, const Fd& previous);

  void make_folder(std::string_view path);
  // Links `entry` (regular file or symbolic link) from the dataset before, where it is at `from`, or at the same path if that is empty,
  // after checking that what is stored there has the type, size and mtime of its manifest entry.
  [[nodiscard]] LinkResult link_previous(const Entry& entry, std::string_view from = {});
  // A copy of the stored file before, with this mtime, its content checked against `digest`; a clone where the filesystem can.
  [[nodiscard]] LinkResult copy_previous(const Entry& entry, Timestamp mtime);
  // A second name for a file of this tree; a copy where it has all the names its filesystem allows.
  void link_within(std::string_view leader, const Entry& entry);
  void make_symlink(std::string_view path, const std::string& target, Timestamp mtime);
  // Removes a file that was begun and is not wanted.
  void remove_file(std::string_view path);
  // `with_predecessor`: opens the same path of the dataset before for keep().
  [[nodiscard]] FileSink create_file(std::string_view path, bool with_predecessor);
  // The stored file of the dataset before, for reading; empty where there is none of that size.
  [[nodiscard]] Fd open_previous(const Entry& entry);
  void set_folder_time(std::string_view path, Timestamp mtime);

 private:
  [[nodiscard]] int folder(std::string_view path);

  FolderCursor tree_, previous_;
  bool has_previous_;
};

}  // namespace syncropy

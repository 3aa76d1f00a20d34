#pragma once
// A tree being built beneath staging/tree, from the tree of the dataset before and from what the agent sends.

#include <sys/types.h>

#include <string>
#include <string_view>

#include "model/entry.hpp"
#include "repository/file-sink.hpp"
#include "util/error.hpp"
#include "util/folder.hpp"

namespace syncropy {

inline constexpr mode_t stored_file_mode = 0400, stored_folder_mode = 0700;

enum class LinkResult {
  linked,
  copy_needed,  // the inode has all the links its filesystem allows (EMLINK), or lies on another one (EXDEV)
  missing,      // the stored file is not there or is not what its manifest says: it must be fetched
};

// A recycled tree is not what its manifest says: somebody was at it. It is of no use; a new one is built in its place.
class SpareUnfit : public Error {
 public:
  // `what`: about `path`, which is escaped here.
  SpareUnfit(const std::string& what, std::string_view path);
};

// The name under which a dataset stores `entry`: what could not be read, and what is a manifest's alone, has none.
[[nodiscard]] bool has_stored_name(const Entry& entry);

// Not thread-safe: each worker has one of its own. Paths are entries' paths; their parents must have been made before.
class TreeBuilder {
 public:
  // `previous`: the tree/ of the dataset before; may be empty. `removed`: `tree` is not new, and this is where its folders go that are not
  // wanted; where it holds a name that it must not, or lacks one that it must have, SpareUnfit is thrown.
  TreeBuilder(const Fd& tree, const Fd& previous, const Fd& removed = Fd());

  void make_folder(std::string_view path);
  // Links `entry` (regular file or symbolic link) from the dataset before, where it is at `from`, or at the same path if that is empty,
  // after checking that what is stored there has the type, size and mtime of its manifest entry.
  [[nodiscard]] LinkResult link_previous(const Entry& entry, std::string_view from = {});
  // A copy of the file that is stored in the dataset before, likewise, with the entry's mtime, its content checked against the entry's digest; a
  // clone where the filesystem can.
  [[nodiscard]] LinkResult copy_previous(const Entry& entry, std::string_view from = {});
  // A second name for a file of this tree; a copy where it has all the names its filesystem allows.
  void link_within(std::string_view leader, const Entry& entry);
  void make_symlink(std::string_view path, const std::string& target, Timestamp mtime);
  // Removes a file that was begun and is not wanted.
  void remove_file(std::string_view path);
  // Of a recycled tree: removes what is stored of `entry`. A folder goes by one rename, with all that is in it.
  void remove_stored(const Entry& entry);
  // Of a recycled tree: whether the file or symbolic link there is as `entry` says.
  [[nodiscard]] bool is_stored(const Entry& entry);
  // Of a recycled tree: whether the name there is one of the inode that the dataset before has under it.
  [[nodiscard]] bool shares_previous(std::string_view path);
  // The mtime of folder `path`.
  [[nodiscard]] Timestamp folder_time(std::string_view path);
  // Of a recycled tree: throws SpareUnfit unless the folder's mtime is that of `entry`, as nobody has put a name into it or taken one out.
  void check_folder(const Entry& entry);
  // `predecessor`: a path of the dataset before, for keep(); may have no data, and then there is none.
  [[nodiscard]] FileSink create_file(std::string_view path, std::string_view predecessor);
  // The stored file of the dataset before, for reading; empty where there is none of that size.
  [[nodiscard]] Fd open_previous(std::string_view path, std::uint64_t size);
  void set_folder_time(std::string_view path, Timestamp mtime);

 private:
  [[nodiscard]] int folder(std::string_view path);
  void refuse_surplus(std::string_view path) const;

  FolderCursor tree_, previous_;
  Fd removed_;
  bool has_previous_, recycled_;
};

}  // namespace syncropy

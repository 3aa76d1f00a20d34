#pragma once
// Small whole files, and the names in a folder.

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/error.hpp"

namespace syncropy {

// The content of `name` beneath folder `at` (or AT_FDCWD), which must be a regular file of at most `bound` bytes. Throws SystemError, or
// Error(`status`) when it is larger.
[[nodiscard]] std::string read_file(int at, const std::string& name, std::size_t bound, ExitStatus status);
// Reads to the end of an open file.
[[nodiscard]] std::string read_all(int fd, std::size_t bound, ExitStatus status, std::string_view subject);
// Writes all of `bytes`; throws SystemError(io) naming `subject`.
void write_all(int fd, std::string_view bytes, std::string_view subject);
// Makes `name` with exactly this content (O_EXCL, so it must not exist). No sync.
void create_file(int at, const std::string& name, std::string_view bytes, unsigned mode);
// Makes `name` have this content, in one step and durably, by way of NAME-new. One caller at a time. It is `owner`'s, if one is named, from
// the moment on that it is there.
struct FileOwner {
  uid_t user;
  gid_t group;
};
void replace_file(int at, const std::string& name, std::string_view bytes, unsigned mode, std::optional<FileOwner> owner = {});
// All names but "." and "..", sorted by bytes.
[[nodiscard]] std::vector<std::string> names_in(int folder);
// Removes `name` beneath `at` and all below it, whatever it is; follows no link and needs a bounded number of descriptors whatever the depth.
// Folders whose mode forbids it are opened up first. A name that is gone already is no error; anything else throws SystemError. `go_on` is
// asked before each folder; once it says no, false is returned and a part of the tree is left.
bool remove_tree(int at, const std::string& name, const std::function<bool()>& go_on = {});

}  // namespace syncropy

#pragma once
// One server's connection to a restore worker: greeting, then restores, until it says bye.

#include <string>
#include <vector>

#include "util/fd.hpp"
#include "util/stream.hpp"

namespace syncropy {

// What the owner of this machine allows. Paths are absolute.
struct RestoreAccess {
  std::vector<std::string> folders;  // that may be written in
  std::vector<std::string> denied;   // that stay as they are, whatever lies above or below
};

// Serves the stream to its end. `root` stands for "/" of every path. Throws Error for how it ended when that was not in order; what the
// server is told of it has been sent. Threads that it starts have ended when it returns.
void serve_restore(ByteStream& stream, const RestoreAccess& access, const Fd& root);

}  // namespace syncropy

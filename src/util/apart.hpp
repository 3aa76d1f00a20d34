#pragma once
// Work that may crash or never end, done in a process of its own.

#include <chrono>
#include <functional>
#include <string_view>

namespace syncropy {

enum class ApartEnd {
  finished,  // the work returned
  crashed,   // a signal of its own doing ended it, or it threw
  killed,    // somebody else ended it: a person, or the kernel for lack of memory
  silent,    // it said nothing for as long as there was patience, and was killed
};

using TellLine = std::function<void(std::string_view line)>;

// Forks, and calls `work` in the child; `on_line` gets, here, each line that it tells (a newline in one makes it two). The child ends without
// exit handlers, and with this process if that ends first. Call it while no other thread of this process holds a lock that `work` needs. Throws
// SystemError(io) where there can be no child; what `on_line` throws ends the child.
[[nodiscard]] ApartEnd run_apart(const std::function<void(const TellLine& tell)>& work, const TellLine& on_line, std::chrono::milliseconds patience);

}  // namespace syncropy

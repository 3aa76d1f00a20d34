#pragma once
// One program of an administrator's, from its start to its end.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "util/event.hpp"
#include "wire/messages.hpp"

namespace syncropy {

// What ends a program before its time. Both may be null.
struct Interruption {
  const Event* cut = nullptr;       // nobody waits for it any more
  const Event* stopping = nullptr;  // this process has to end within seconds
};

// Runs arguments[0] (an absolute path) with exactly `environment`, in a session of its own, in the folder "/", with standard input from /dev/null.
// What it prints goes to `output` in pieces, at most limits::output_bytes in all; what that throws is not heard, and nothing more is handed on.
// After `timeout_seconds`, or when interrupted, it gets SIGTERM with all its process group; what is left five seconds later (two, when
// stopping), or when the program itself has ended, gets SIGKILL. Not interrupted, what it has left behind lives on.
//
// Throws Error(command) when it cannot be started. No way out of here leaves it running.
[[nodiscard]] Ran run_process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment, unsigned timeout_seconds,
                              const Interruption& interruption, const std::function<void(std::string_view)>& output);

}  // namespace syncropy

#pragma once
// A program of the system's that does one thing and ends: systemd-creds, systemctl.

#include <string>
#include <vector>

namespace syncropy {

// Runs words[0], as PATH finds it, with the environment and standard error of this process, no signal blocked, and these descriptors as standard
// input and output (-1: /dev/null); waits for its end. Whether it could be run and ended with status 0. For programs that end by themselves.
[[nodiscard]] bool run_to_success(std::vector<std::string> words, int input = -1, int output = -1);

}  // namespace syncropy

#pragma once
// What a person typed, once CLI11 knows what may be typed.

#include <CLI/CLI.hpp>
#include <optional>

namespace syncropy {

// Nothing: go on. Otherwise the status to end with: help or version are printed, or "PROGRAM: error: WHAT: REMEDY" is on standard error.
[[nodiscard]] std::optional<int> parse_arguments(CLI::App& app, const char* program, int argc, char** argv);

}  // namespace syncropy

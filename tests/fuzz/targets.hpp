#pragma once
// Whatever reads bytes that somebody else wrote, each as one function of those bytes. A target returns for everything that is refused in
// order, and stops the program where a reader breaks a promise: replay.cpp and libFuzzer give it bytes.

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "util/error.hpp"

namespace syncropy::fuzz {

struct Target {
  std::string_view name;  // its corpus is tests/fuzz/corpus/NAME
  void (*run)(std::string_view bytes);
};

[[nodiscard]] std::span<const Target> config_targets();
[[nodiscard]] std::span<const Target> model_targets();
[[nodiscard]] std::span<const Target> wire_targets();

// Ends the program, saying what did not hold.
void expect(bool holds, const char* what);

// Runs `read`, which may refuse with an Error that has one of these statuses and is fit to be shown: one line without control characters.
// Any other exception is on its way to end the program. With SYNCROPY_FUZZ_TELL in the environment it prints each refusal.
bool accepted(std::initializer_list<ExitStatus> refusals, const std::function<void()>& read);

}  // namespace syncropy::fuzz

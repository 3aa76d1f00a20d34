#include "tests/fuzz/targets.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "util/escape.hpp"

namespace syncropy::fuzz {
namespace {

bool fit_to_be_shown(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

}  // namespace

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "\ndoes not hold: %s\n", what);
  std::abort();
}

bool accepted(std::initializer_list<ExitStatus> refusals, const std::function<void()>& read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    if (std::getenv("SYNCROPY_FUZZ_TELL") != nullptr) std::fprintf(stderr, "refused: %s\n", escape(error.line()).c_str());
    if (!fit_to_be_shown(error.line())) std::fprintf(stderr, "\nsays: %s\n", escape(error.line()).c_str());
    expect(fit_to_be_shown(error.line()), "an error is one line without control characters");
    if (std::find(refusals.begin(), refusals.end(), error.status()) == refusals.end()) std::fprintf(stderr, "\nsays: %s\n", error.what());
    expect(std::find(refusals.begin(), refusals.end(), error.status()) != refusals.end(), "a refusal has the status of its kind");
    return false;
  }
}

}  // namespace syncropy::fuzz

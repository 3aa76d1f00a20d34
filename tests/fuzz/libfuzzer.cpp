// libFuzzer's entry point, for the target that SYNCROPY_FUZZ names: tests/fuzz/run builds it with clang.

#include <cstdint>
#include <cstdlib>

#include "tests/fuzz/targets.hpp"

namespace {

const syncropy::fuzz::Target& chosen() {
  const char* name = std::getenv("SYNCROPY_FUZZ");
  for (const auto& targets : {syncropy::fuzz::config_targets(), syncropy::fuzz::model_targets(), syncropy::fuzz::wire_targets()})
    for (const syncropy::fuzz::Target& target : targets)
      if (name != nullptr && target.name == name) return target;
  syncropy::fuzz::expect(false, "SYNCROPY_FUZZ names a target: a folder of tests/fuzz/corpus");
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const syncropy::fuzz::Target& target = chosen();
  target.run({reinterpret_cast<const char*>(data), size});
  return 0;
}

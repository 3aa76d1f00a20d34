#pragma once
// statx(2) into the model's Stat: the one place where the kernel's fields get their meaning.

#include "model/entry.hpp"

namespace syncropy {

// Stat of `name` in folder `at`, or of `at` itself where `name` is "". No symbolic link is followed, no automount triggered.
// Returns 0 or an errno. `allocated`, where it is wanted: bytes that the file takes on its disk.
[[nodiscard]] int read_stat(int at, const char* name, Stat& stat, std::uint64_t* allocated = nullptr);

}  // namespace syncropy

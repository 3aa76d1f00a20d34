#pragma once
// The catalog's backup at the end of a run.

#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "util/error.hpp"

namespace syncropy {

// Where the configuration names a file for it. A failure is logged and makes a success not_recorded: the datasets are published, and the last
// backup stays as it was. Returns `status` otherwise.
[[nodiscard]] ExitStatus back_up_catalog(const ServerSettings& settings, const Repository& repository, ExitStatus status);

}  // namespace syncropy

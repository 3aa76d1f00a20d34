#include "cli/exit.hpp"

#include <sys/resource.h>

#include <string>

#include "sd/journal.hpp"
#include "util/escape.hpp"

namespace syncropy {

int report_failure(std::string_view, const Error& error, std::string_view message_id) {
  log(Priority::error, error.line(), {{"SYNCROPY_STATUS", std::to_string(static_cast<int>(error.status()))}}, message_id);
  return static_cast<int>(error.status());
}

int report_defect(std::string_view program, const std::exception& error) {
  return report_failure(program, Error(ExitStatus::internal, escape(error.what()), "this is a defect of " + std::string(program) + ": please report it"));
}

void raise_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // without it, trees deeper than the soft limit are reported as they are met
}

}  // namespace syncropy

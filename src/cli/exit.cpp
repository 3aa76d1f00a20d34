#include "cli/exit.hpp"

#include <sys/resource.h>

#include <string>

#include "sd/journal.hpp"
#include "util/crash.hpp"
#include "util/escape.hpp"
#include "util/unexpected.hpp"

namespace syncropy {

int report_failure(std::string_view, const Error& error, std::string_view message_id) {
  log(Priority::error, error.line(), {{"SYNCROPY_STATUS", std::to_string(static_cast<int>(error.status()))}}, message_id);
  return static_cast<int>(error.status());
}

int report_defect(std::string_view program, const std::exception& error) {
  return report_failure(program, as_error(error, "this is a defect of " + std::string(program) + ": please report it"));
}

void tell_crashes_of(std::string_view program, std::string_view what_stays) {
  open_log(program, Priority::info);
  tell_crashes((logs_to_journal() ? "<3>" : "") + std::string(program) + ": error: crashed (",
               "), by a defect of its own, or of a library that memory or a file failed: " + std::string(what_stays) + "\n");
}

void raise_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // without it, trees deeper than the soft limit are reported as they are met
}

}  // namespace syncropy

#include "util/error.hpp"

#include <cerrno>
#include <cstring>

#include "util/escape.hpp"

namespace syncropy {
namespace {

bool is_disk_condition(int code) { return code == ENOSPC || code == EDQUOT || code == EIO || code == EROFS; }

std::string disk_remedy(int code) {
  switch (code) {
    case ENOSPC: return "free space or inodes on that filesystem, then run again; nothing that was published is touched";
    case EDQUOT: return "raise the quota of this user on that filesystem, then run again";
    case EROFS: return "mount that filesystem read-write, then run again";
    default: return "the device reports errors: check it (dmesg, smartctl) before the next run";
  }
}

}  // namespace

std::string Error::line() const { return remedy_.empty() ? what() : std::string(what()) + ": " + remedy_; }

SystemError::SystemError(ExitStatus status, int code, std::string_view tried, std::string_view on, std::string remedy)
    : Error(is_disk_condition(code) ? ExitStatus::io : status,
            "cannot " + std::string(tried) + " " + escape(on) + " (" + std::strerror(code) + ")",
            is_disk_condition(code) ? disk_remedy(code) : std::move(remedy)),
      code_(code) {}

void throw_errno(ExitStatus status, std::string_view tried, std::string_view on, std::string remedy) {
  throw SystemError(status, errno, tried, on, std::move(remedy));
}

}  // namespace syncropy

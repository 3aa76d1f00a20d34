#include "util/unexpected.hpp"

#include <cstring>
#include <new>
#include <system_error>

#include "util/escape.hpp"

namespace syncropy {

Error as_error(const std::exception& error, const std::string& remedy) {
  if (const auto* ours = dynamic_cast<const Error*>(&error)) return *ours;
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return {ExitStatus::starved, "out of memory", "give the machine or the unit (MemoryMax=) more, or let fewer clients run side by side ('parallel')"};
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  if (system != nullptr && (system->code() == std::errc::resource_unavailable_try_again || system->code() == std::errc::not_enough_memory))
    return {ExitStatus::starved, std::string("cannot start a thread (") + std::strerror(system->code().value()) + ")",
            "raise the limits of the unit (TasksMax=) or of the user (ulimit -u), or give the machine more memory"};
  return {ExitStatus::internal, escape(error.what()), remedy};
}

}  // namespace syncropy

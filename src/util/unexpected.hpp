#pragma once
// Exceptions that nobody has made for a person to read: told as what they are.

#include <exception>
#include <string>

#include "util/error.hpp"

namespace syncropy {

// An Error stays what it is; no memory (std::bad_alloc) and no thread (std::system_error) are the machine's, ExitStatus::starved; anything else is
// a defect, ExitStatus::internal with `remedy`.
[[nodiscard]] Error as_error(const std::exception& error, const std::string& remedy = "this is a defect: please report it with the lines above");

}  // namespace syncropy

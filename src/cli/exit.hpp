#pragma once
// How every program ends: one error in its log (sd/journal.hpp) for a failure, and its status.

#include <exception>
#include <string_view>

#include "util/error.hpp"

namespace syncropy {

// The MESSAGE_ID of a failure, or empty.
using MessageIdOf = std::string_view (*)(ExitStatus);

// Runs `body`, which returns the exit status, and turns what it throws into a line and a status.
template <typename Body>
int end_with(std::string_view program, Body&& body, MessageIdOf message_id_of = nullptr);

// Logs "WHAT: REMEDY" as an error, which on standard error is "PROGRAM: error: WHAT: REMEDY", and returns the status to end with.
int report_failure(std::string_view program, const Error& error, std::string_view message_id = {});
int report_defect(std::string_view program, const std::exception& error);

template <typename Body>
int end_with(std::string_view program, Body&& body, MessageIdOf message_id_of) {
  try {
    return static_cast<int>(body());
  } catch (const Error& error) {
    return report_failure(program, error, message_id_of == nullptr ? std::string_view() : message_id_of(error.status()));
  } catch (const std::exception& error) {
    return report_defect(program, error);
  }
}

// A crash of this program is told in its log, too (util/crash.hpp). `what_stays` says what is to be done: "published datasets stay …".
void tell_crashes_of(std::string_view program, std::string_view what_stays);

// Lifts the soft limit of open files to the hard one: folders are held open while trees are walked and built.
void raise_open_files();

}  // namespace syncropy

#pragma once
// A crash that cannot be helped says so in one line. The embedded database engine runs in our process: where its files fail it at a bad moment it
// ends the process by a signal or by an exception that nobody catches.

#include <string>

namespace syncropy {

// From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and std::terminate() write `before` WHY `after` to standard error, a line, and end the process
// with ExitStatus::internal; by the signal, where core files are wanted (ulimit -c is not 0). WHY is the signal, or the type of an exception, as the
// compiler names it. Call it once, before there are threads. A sanitizer's own report is not replaced.
void tell_crashes(std::string before, std::string after);

// In a child process whose parent tells what became of it: crashes are silent and end it by their signal.
void leave_crashes_alone();

}  // namespace syncropy

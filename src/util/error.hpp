#pragma once
// Failures as values a person can act on: what happened, to what, what to do next, and the exit status it maps to.

#include <stdexcept>
#include <string>
#include <string_view>

namespace syncropy {

// Exit statuses of all three programs; syncropy-server(8) lists them. 64 and above follow sysexits(3).
enum class ExitStatus : int {
  success = 0,
  several = 1,       // clients failed, each for a reason of its own
  usage = 2,         // the command line
  partial = 3,       // published, but the agent could not read some files; restored, but not all of it
  not_recorded = 4,  // published, but the catalog could not be written; the next run records it
  command = 5,       // the pre-command or the post-command failed
  conflict = 6,      // a restore found something else in the place of an entry, and touched nothing
  data = 65,         // a manifest, a stored file or the catalog holds what it must not
  no_input = 66,     // a file, path or dataset that was named does not exist
  unavailable = 69,  // nobody answers: agent not listening, database server away
  internal = 70,     // a defect of ours
  starved = 71,      // no memory, thread or process is left; of this process alone: no peer sends it
  repository = 73,   // repository missing, not ours, or not writable
  io = 74,           // the disk: full, failing, over quota
  busy = 75,         // another run holds the lock
  protocol = 76,     // the peer was cut off, stalled, or sent what the protocol forbids
  refused = 77,      // a certificate or a policy says no
  config = 78,       // a setting is wrong
};

// A failure with its remedy. `what()` says what was tried, on what, and why it failed; `remedy()` says what to do
// next, or is empty where nothing can be said. Neither holds control characters: names in them are escaped
// (util/escape.hpp) by whoever builds the text.
class Error : public std::runtime_error {
 public:
  Error(ExitStatus status, const std::string& what, std::string remedy = {})
      : std::runtime_error(what), status_(status), remedy_(std::move(remedy)) {}

  [[nodiscard]] ExitStatus status() const { return status_; }
  [[nodiscard]] const std::string& remedy() const { return remedy_; }
  // One line for people: "WHAT: REMEDY", or WHAT alone.
  [[nodiscard]] std::string line() const;

 private:
  ExitStatus status_;
  std::string remedy_;
};

// A failed system call: `tried` is a verb phrase ("open"), `on` the object (escaped here), `code` an errno.
class SystemError : public Error {
 public:
  SystemError(ExitStatus status, int code, std::string_view tried, std::string_view on, std::string remedy = {});
  [[nodiscard]] int code() const { return code_; }

 private:
  int code_;
};

// Throws a SystemError for the current errno. Disk conditions (ENOSPC, EDQUOT, EIO, EROFS) get their own remedy and
// ExitStatus::io whatever `status` says.
[[noreturn]] void throw_errno(ExitStatus status, std::string_view tried, std::string_view on, std::string remedy = {});

}  // namespace syncropy

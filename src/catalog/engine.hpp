#pragma once
// The embedded engine's private root folder. Without one, Debian's engine runs as "Super" and locks a database for one process, and keeps
// its lock tables in /tmp/firebird, which units with PrivateTmp do not share: two lock tables on one database destroy it.

#include <string>

#include "util/fd.hpp"

namespace syncropy {

// Makes or refreshes FOLDER/{firebird.conf,plugins.conf,databases.conf,intl} (mode 0700, each file replaced atomically) and points this
// process's Firebird at it, by the environment variables FIREBIRD and FIREBIRD_LOCK: the client library reads them once, so the first
// embedded Catalog must be opened before any networked one and before other threads read the environment. One folder per process: Error
// internal for a second one. Error io or repository where the folder cannot be made.
void use_engine_folder(const std::string& folder);

// Held while a database is opened: who finds one that another process has half made would take it for damaged. `alone` for who may make or
// upgrade it. Waits for the others; opening takes milliseconds.
[[nodiscard]] Fd lock_opening(const std::string& folder, bool alone);

// Removes the lock files that processes have left which were killed, 2 MiB for each database that was being made: nothing else ever would. The
// engine holds a flock(2) on those in use. The caller holds lock_opening() alone.
void remove_leftovers(const std::string& folder);

// The engine maps its lock files: on a disk that is full, using one would end the process (SIGBUS). So before attaching, Error io where
// they may not fit ...
void expect_room(const std::string& folder);
// ... and afterwards their room is taken, so that the disk may fill up meanwhile.
void hold_room(const std::string& folder);

// Where root has attached to the database of another user, gives that user the lock files root has made: the next process of that user
// could not open them otherwise: Error io where it cannot. Does nothing for everybody else.
void return_engine_files(const std::string& folder, const std::string& database);

}  // namespace syncropy

#pragma once
// A peer breaks the protocol: `why` says what it did, as in "sent more entries than it may".

#include <string>

#include "util/error.hpp"

namespace syncropy {

// For a server, which names the client it speaks to before this.
[[noreturn]] inline void reject_client(const std::string& why) {
  throw Error(ExitStatus::protocol, "it " + why, "check that it is a Syncropy of a fitting version");
}

// For who answers a server.
[[noreturn]] inline void reject_server(const std::string& why) {
  throw Error(ExitStatus::protocol, "the server " + why, "check that it is a Syncropy of a fitting version");
}

}  // namespace syncropy

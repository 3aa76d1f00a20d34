#pragma once
// The enrolment service: one machine's connection, which gets one certificate for a token, or for the certificate it has.

#include <string>

#include "transport/socket.hpp"

namespace syncropy {

// Serves it to its end, as the CA in `folder`, whose lock is held only while something is looked up or issued. What the machine may not have, or does
// wrong, is told to it, logged and no error. Throws Error for what is wrong with the CA.
void serve_enrolment(Socket socket, const std::string& folder);

}  // namespace syncropy

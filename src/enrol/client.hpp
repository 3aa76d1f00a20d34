#pragma once
// A machine's side of enrolment: it makes its key, has it certified, and puts both where the agent finds them.

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "enrol/identity-files.hpp"
#include "enrol/token.hpp"

namespace syncropy {

struct ServiceAddress {
  std::string host;
  std::uint16_t port = 4446;
};
// HOST, HOST:PORT, an IPv6 address, [ADDRESS]:PORT. Throws Error(usage).
[[nodiscard]] ServiceAddress parse_service_address(std::string_view text);
[[nodiscard]] std::string format_service_address(const ServiceAddress& address);

struct EnrolmentTerms {
  ServiceAddress service;
  Token token;
  IdentityPlace place;
  std::string policy;        // the file that is written; empty: none
  bool replace = false;      // what is there already: it is kept beside, as NAME.old
};

struct Enrolled {
  std::vector<std::string> names, servers;  // of the certificate; who may connect
  std::string serial;
  std::time_t expires = 0;
};

// Looks first whether everything can be written, then asks; so what fails leaves the token as good as it was, unless the connection is cut while the
// answer is under way. Throws Error: conflict (a key or a policy is there, without `replace`; a key is there both plain and encrypted), refused (the token or the
// service is not the right one), unavailable, protocol, io.
[[nodiscard]] Enrolled enrol_machine(const EnrolmentTerms& terms);

struct Renewed {
  bool renewed = false;   // else it is not due yet
  std::time_t expires = 0;
  std::string service, serial;
};
// A new key and certificate from where the last came from, in its place, when a third of its life is left or less, or `force`. Throws Error as
// enrol_machine does; no_input where this machine never enrolled.
[[nodiscard]] Renewed renew_machine(const IdentityPlace& place, bool force, std::time_t now);

}  // namespace syncropy

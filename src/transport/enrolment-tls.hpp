#pragma once
// TLS 1.3 between the enrolment service and a machine that wants a certificate of it. The service shows a certificate of the CA that is good
// for this service alone; the machine shows the one it has, or none.

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "transport/authority.hpp"
#include "transport/tls.hpp"

namespace syncropy {

struct EnrolmentChannel {
  SecuredStream secured;
  std::string authority;  // the root of the CA, in DER, as the service showed it: self-signed by the key that was expected
};

// For a machine without a certificate: believes whom a CA vouches for whose key's digest (SHA-256) begins with `authority`. Throws Error as
// tls_connect does; refused, with nothing sent, where another CA's service answers.
[[nodiscard]] EnrolmentChannel connect_to_enrolment(Socket socket, std::span<const std::uint8_t, 16> authority, unsigned stall_seconds);

// For one that has a certificate and shows it: believes whom a CA vouches for whose key is that of one in `own.ca`.
[[nodiscard]] EnrolmentChannel connect_to_enrolment(Socket socket, const TlsFiles& own, unsigned stall_seconds);

// The service's side. The peer is nobody (no names, `expires` 0), or has an agent's certificate of this CA that is valid now; whether that is
// known and not revoked is for the caller to say. The certificate it shows is made for `names`, on the spot, and is good for a day.
[[nodiscard]] SecuredStream accept_enrolment(Socket socket, const Authority& authority, const std::vector<std::string>& names, unsigned stall_seconds);

}  // namespace syncropy

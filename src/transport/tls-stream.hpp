#pragma once
// One TLS 1.3 connection, whoever is at its ends: what tls_connect, tls_accept and those of enrolment share.

#include <functional>
#include <memory>
#include <string>

#include "transport/peer-check.hpp"

namespace syncropy {

struct TlsTerms {
  std::shared_ptr<const TlsCredentials::State> credentials;
  // Of what the peer presented, and of nothing too where it may present nothing. Called during the handshake alone.
  std::function<PeerVerdict(gnutls_session_t)> check;
  Parties parties;
  std::string them_later;                              // what messages call the peer after the handshake, when the caller knows its address
  bool peer_must_show = true;                          // where we are the TLS server: a client without a certificate is refused
};

// The handshake, within `stall_seconds`. Throws Error: what `check` refuses, as its refusal says; protocol where the peer is cut, stalls or
// speaks no TLS 1.3; refused where it refuses us.
[[nodiscard]] SecuredStream secure(Socket socket, TlsTerms terms, unsigned stall_seconds);

}  // namespace syncropy

#pragma once
// Whether a peer's certificate is believed, and the TLS alerts in which two sides tell each other that it is not.

#include <gnutls/gnutls.h>

#include <optional>
#include <string>
#include <vector>

#include "transport/credentials.hpp"
#include "util/error.hpp"

namespace syncropy {

// Syncropy's server is the TLS client; so is a machine that wants a certificate of the enrolment service.
enum class Side { server, agent, applicant, enrolment };
[[nodiscard]] constexpr bool connects(Side side) { return side == Side::server || side == Side::applicant; }

// Words for messages of one side.
struct Parties {
  Side us;
  std::string them;  // "the agent at 192.0.2.7 port 4444", "the server"
};

struct Refusal {
  Error error;
  gnutls_alert_description_t alert;  // what the peer is told
};

struct PeerVerdict {
  PeerIdentity identity;
  std::optional<Refusal> refusal;
};

// The certificate that the peer of `session` presented; empty where there is none that can be read. The chain it came with is behind it.
[[nodiscard]] Certificate peer_certificate(gnutls_session_t session);
[[nodiscard]] PeerIdentity identity_of(gnutls_x509_crt_t certificate);

// Looks at that certificate (the handshake's verify callback calls this). `names`: with a CA, the certificate must carry one of them: any DNS
// or IP form where we are the server, exactly one of its names where we are the agent; and it must be good for the peer's side of TLS.
[[nodiscard]] PeerVerdict check_peer(gnutls_session_t session, const TlsCredentials::State& credentials, const std::vector<std::string>& names, const Parties& parties);

// What is wrong with `certificate`, which `subject` describes, as far as that is a matter of time.
[[nodiscard]] Refusal untimely(gnutls_x509_crt_t certificate, const std::string& subject);

// A fatal alert from the peer as an Error: refused where it is about our certificate, protocol otherwise.
[[nodiscard]] Error error_from_alert(gnutls_alert_description_t alert, const Parties& parties);

}  // namespace syncropy

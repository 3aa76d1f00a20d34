#pragma once
// Whether a peer's certificate is believed, and the TLS alerts in which two sides tell each other that it is not.

#include <gnutls/gnutls.h>

#include <optional>
#include <string>
#include <vector>

#include "transport/credentials.hpp"
#include "util/error.hpp"

namespace syncropy {

enum class Side { server, agent };  // Syncropy's server is the TLS client

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

// Looks at the certificate that the peer of `session` presented (the handshake's verify callback calls this). `names`: with a CA, the
// certificate must carry one of them: any DNS or IP form where we are the server, exactly one of its names where we are the agent.
[[nodiscard]] PeerVerdict check_peer(gnutls_session_t session, const TlsCredentials::State& credentials, const std::vector<std::string>& names, const Parties& parties);

// A fatal alert from the peer as an Error: refused where it is about our certificate, protocol otherwise.
[[nodiscard]] Error error_from_alert(gnutls_alert_description_t alert, const Parties& parties);

}  // namespace syncropy

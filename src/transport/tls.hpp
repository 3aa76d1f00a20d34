#pragma once
// TLS 1.3 by GnuTLS, both sides authenticated by a private CA or by pinned certificates. No other TLS version, no
// compression, no session resumption.

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "transport/socket.hpp"
#include "util/digest.hpp"
#include "util/stream.hpp"

namespace syncropy {

// One side's identity and whom it believes, loaded once and used for many connections (thread-safe for that). Streams share what
// they need of it: it may go before them.
struct TlsFiles {
  std::string certificate, key;       // PEM; an empty key: it stands in the certificate's file (sslpem)
  std::string password;               // of an encrypted key, empty where it is none
  std::string ca;                     // PEM; empty: only `pins`
  std::vector<std::string> pins;      // PEM files, each a certificate that is accepted as it is (but not once expired)
  std::string revoked{};              // PEM: lists of what the CA has revoked, each signed by it; empty: none
};

class TlsCredentials {
 public:
  // Reads and checks all files. Throws Error: no_input (missing), refused (unreadable, not PEM, wrong or missing key password, key
  // and certificate do not match, own certificate expired or not valid yet: with its dates; a list of revoked certificates that is
  // not the CA's, or out of date), naming the file and a remedy.
  explicit TlsCredentials(const TlsFiles& files);
  struct State;
  [[nodiscard]] std::shared_ptr<const State> state() const { return state_; }

 private:
  std::shared_ptr<State> state_;
};

// Who the peer proved to be.
struct PeerIdentity {
  std::vector<std::string> names;  // DNS names of its certificate, else its common name; escaped
  Digest fingerprint{};            // SHA-256 of the certificate in DER
  std::string serial;              // of the certificate, lower-case hexadecimal digits
  std::time_t expires = 0;         // the certificate; 0 without one
  bool pinned = false;             // accepted by pin and not by CA
  std::string plain;               // without TLS: "loopback", "unix", or the address; empty with TLS
};

struct SecuredStream {
  std::unique_ptr<ByteStream> stream;
  PeerIdentity peer;
};

// The server's side of Syncropy is the TLS client. `expected_name` is the DNS name or IP address the agent's
// certificate must carry when the CA decides (not when it is pinned); nor may it be made for TLS clients alone. Throws Error(refused) that
// tells foreign, revoked, expired, not-yet-valid, wrong-purpose and wrong-name certificates apart; Error(protocol) when the peer is cut, stalls, or does not
// speak TLS. Handshake within `stall_seconds`. Errors of the handshake name the peer's address, later ones do not.
//
// A TLS 1.3 client is done before the other side has looked at its certificate: that the agent refused *ours* is what
// the first read_some or write_all throws, as Error(refused) made of the agent's TLS alert.
[[nodiscard]] SecuredStream tls_connect(Socket socket, const TlsCredentials& credentials, const std::string& expected_name, unsigned stall_seconds);

// The agent's side. `accepted_names`: with a CA, the peer must carry one of them (exactly, but for case), and its
// certificate must not be made for TLS servers alone: an agent's lets nobody in as a server. Same errors, and
// the server's refusal of *our* certificate; but no error names the address: the caller has it.
[[nodiscard]] SecuredStream tls_accept(Socket socket, const TlsCredentials& credentials, const std::vector<std::string>& accepted_names, unsigned stall_seconds);

// Without TLS, for loopback, AF_UNIX and tests. Its orderly end is that of the TCP stream.
[[nodiscard]] SecuredStream plain_stream(Socket socket, unsigned stall_seconds);

}  // namespace syncropy

#pragma once
// A TLS peer that is GnuTLS alone: it can misbehave in ways that a TlsStream does not. Each end believes everything.

#include <gnutls/gnutls.h>
#include <poll.h>

#include <mutex>
#include <string>

#include "test-keys.hpp"
#include "util/fd.hpp"

namespace syncropy {

class RawPeer {
 public:
  // `name` of cast().keys; empty: without a certificate.
  RawPeer(Fd socket, unsigned role, const std::string& name, const char* priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.3") : socket_(std::move(socket)) {
    must(gnutls_certificate_allocate_credentials(&credentials_));
    if (!name.empty())
      must(gnutls_certificate_set_x509_key_file(credentials_, cast().keys.path(name + ".crt").c_str(), cast().keys.path(name + ".key").c_str(), GNUTLS_X509_FMT_PEM));
    must(gnutls_init(&session, role | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS));
    must(gnutls_priority_set_direct(session, priorities, nullptr));
    must(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials_));
    if (role == GNUTLS_SERVER) gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_transport_set_int(session, socket_.get());
  }
  ~RawPeer() {
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials_);
  }
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;

  // Tries again until it is done; the socket does not block.
  template <typename Call>
  ssize_t patiently(Call call) {
    for (;;) {
      const auto code = static_cast<ssize_t>(call());
      if (code != GNUTLS_E_AGAIN && code != GNUTLS_E_INTERRUPTED) return code;
      pollfd ready{socket_.get(), static_cast<short>(gnutls_record_get_direction(session) == 0 ? POLLIN : POLLOUT), 0};
      ::poll(&ready, 1, 5'000);
    }
  }
  ssize_t handshake() {
    return patiently([this] { return gnutls_handshake(session); });
  }
  void close() { socket_.reset(); }

  gnutls_session_t session = nullptr;

 private:
  Fd socket_;
  gnutls_certificate_credentials_t credentials_ = nullptr;
};

}  // namespace syncropy

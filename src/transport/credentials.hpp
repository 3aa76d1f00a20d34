#pragma once
// What stands behind TlsCredentials: keys and certificates in GnuTLS's own form.

#include <gnutls/gnutls.h>

#include <string>
#include <vector>

#include "transport/certificate.hpp"
#include "transport/tls.hpp"

namespace syncropy {

struct TlsCredentials::State {
  struct Deleter {
    void operator()(gnutls_certificate_credentials_t credentials) const { gnutls_certificate_free_credentials(credentials); }
  };
  std::unique_ptr<std::remove_pointer_t<gnutls_certificate_credentials_t>, Deleter> credentials;
  std::string ca_file;              // empty: only pins
  std::vector<std::string> pins;    // in DER
  std::vector<std::string> pin_files;
};

}  // namespace syncropy

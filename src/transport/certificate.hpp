#pragma once
// One X.509 certificate as Syncropy looks at it, and the PEM files they come from.

#include <gnutls/x509.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "util/digest.hpp"

namespace syncropy {

struct CertificateDeleter {
  void operator()(gnutls_x509_crt_t certificate) const { gnutls_x509_crt_deinit(certificate); }
};
using Certificate = std::unique_ptr<std::remove_pointer_t<gnutls_x509_crt_t>, CertificateDeleter>;

// At most 1 MiB and 1,000 certificates of PEM in `file`; at least one. `what` names the setting's meaning in errors ("CA",
// "certificate"). Throws Error(no_input) where it is missing, Error(refused) otherwise.
[[nodiscard]] std::vector<Certificate> load_certificates(const std::string& file, std::string_view what);
// The bytes of a file of keys or certificates, with the errors of load_certificates.
[[nodiscard]] std::string load_pem(const std::string& file, std::string_view what);

// The SHA-256 of its public key (RFC 5280, 4.2.1.2, with that digest).
[[nodiscard]] Digest key_id_of(gnutls_x509_crt_t certificate);
[[nodiscard]] std::string der_of(gnutls_x509_crt_t certificate);
// DNS names, else the common name; not escaped, at most 100.
[[nodiscard]] std::vector<std::string> names_of(gnutls_x509_crt_t certificate);
// It carries `name` (a DNS name or an address): among its alternative names, or as its common name where it has no
// alternative names at all.
[[nodiscard]] bool carries_name(gnutls_x509_crt_t certificate, const std::string& name);

enum class Validity { valid, not_yet, expired };
[[nodiscard]] Validity validity_of(gnutls_x509_crt_t certificate);
// "expired on 2026-11-22T19:05:00Z" or "is not valid before 2026-11-22T19:05:00Z".
[[nodiscard]] std::string describe_validity(gnutls_x509_crt_t certificate);
// Lower-case hexadecimal digits.
[[nodiscard]] std::string serial_of(gnutls_x509_crt_t certificate);
// "'web1' (SHA-256 0123…)" for messages.
[[nodiscard]] std::string describe(gnutls_x509_crt_t certificate);

}  // namespace syncropy

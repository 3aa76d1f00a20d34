#pragma once
// A private certificate authority: a root that signs itself, and the certificates and revocation lists (RFC 5280) that it signs.

#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "transport/certificate.hpp"
#include "transport/private-key.hpp"
#include "util/digest.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::size_t certificate_bytes = 16U << 10;  // in DER
inline constexpr std::size_t certificate_names = 20;
inline constexpr std::size_t certificate_name_bytes = 253;
}  // namespace limits

// The part that the holder of a certificate may play (extendedKeyUsage), and no other.
enum class Part {
  agent,      // serverAuth: agents are the TLS servers
  server,     // clientAuth
  enrolment,  // serverAuth and an identifier of our own: agents' certificates are of the same CA, and must not pass for the service
};
inline constexpr const char* enrolment_purpose = "2.25.1440937504886677303";

// What may stand in a certificate: an address, or up to 253 letters, digits, '.', '_' and '-' that begin with a letter or a digit.
[[nodiscard]] bool is_certificate_name(std::string_view name);

struct CertificateTerms {
  std::vector<std::string> names;  // 1 to limits::certificate_names, each a certificate name; the first is the common name too
  Part part = Part::agent;
  std::time_t from = 0, to = 0;    // what lies beyond the authority's own time is cut off
};

struct IssuedCertificate {
  std::string der;
  std::string serial;  // 32 lower-case hexadecimal digits
  std::time_t from = 0, to = 0;
};

class Authority {
 public:
  // A new key and its root.
  Authority(const std::string& name, std::time_t from, std::time_t to);
  // Both in PEM. Throws Error(refused) where one cannot be read or they do not belong together.
  Authority(std::string_view certificate, std::string_view key);

  [[nodiscard]] IssuedCertificate issue(const RequestedKey& key, const CertificateTerms& terms) const;
  [[nodiscard]] IssuedCertificate issue(const PrivateKey& key, const CertificateTerms& terms) const;
  // In PEM. `revoked`: serials, and when. In force until the root expires: it is replaced when something changes.
  [[nodiscard]] std::string revocation_list(const std::vector<std::pair<std::string, std::time_t>>& revoked, std::time_t now) const;
  // The same key and name for another time.
  void renew(std::time_t from, std::time_t to);

  [[nodiscard]] std::string certificate_pem() const;
  [[nodiscard]] std::string certificate_der() const { return der_of(certificate_.get()); }
  [[nodiscard]] std::string key_pem() const { return key_.pem(); }
  [[nodiscard]] Digest key_id() const { return key_.id(); }
  [[nodiscard]] std::time_t from() const { return gnutls_x509_crt_get_activation_time(certificate_.get()); }
  [[nodiscard]] std::time_t to() const { return gnutls_x509_crt_get_expiration_time(certificate_.get()); }
  [[nodiscard]] gnutls_x509_crt_t certificate() const { return certificate_.get(); }

 private:
  template <typename SetKey>
  IssuedCertificate issue_with(SetKey set_key, const CertificateTerms& terms) const;
  void sign_root(const std::string& name, std::time_t from, std::time_t to);

  PrivateKey key_;
  Certificate certificate_;
};

// PEM of a certificate in DER, and DER of the first certificate in PEM (Error(refused), naming `subject`).
[[nodiscard]] std::string pem_of_certificate(std::string_view der);
[[nodiscard]] std::string der_of_certificate(std::string_view pem, std::string_view subject);

// What is in a certificate, for who keeps or shows it.
struct CertificateFacts {
  std::vector<std::string> names;  // not escaped
  std::string serial;
  std::time_t from = 0, to = 0;
  Digest key_id{};
};
[[nodiscard]] CertificateFacts facts_of_certificate(std::string_view der);  // throws Error(refused)

// That a certificate that was asked for is what it should be: of this key, signed by this root, valid now, an agent's and nothing else, with
// names that can be. All in DER. Throws Error(refused).
[[nodiscard]] CertificateFacts check_issued(std::string_view certificate, std::string_view root, const Digest& key_id);

}  // namespace syncropy

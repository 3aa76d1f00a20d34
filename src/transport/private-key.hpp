#pragma once
// Private keys in GnuTLS's hands, and the requests (PKCS #10) by which an authority is asked to sign them.

#include <gnutls/abstract.h>
#include <gnutls/x509.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "util/digest.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::size_t request_bytes = 16U << 10;  // of a request, in DER
}

class PrivateKey {
 public:
  // A new one: ECDSA on P-256.
  PrivateKey();
  // One in PEM that is not encrypted; `subject` names it in errors, which are Error(refused).
  PrivateKey(std::string_view pem, std::string_view subject);
  // PKCS #8, not encrypted. The caller wipes it (wipe) when it has been written.
  [[nodiscard]] std::string pem() const;
  // SHA-256 of the public key (its subjectPublicKeyInfo in DER).
  [[nodiscard]] Digest id() const;
  // A request for a certificate of this key, in DER. It says nothing of names: those are the authority's to give.
  [[nodiscard]] std::string request() const;
  [[nodiscard]] gnutls_x509_privkey_t get() const { return key_.get(); }

 private:
  struct Deleter {
    void operator()(gnutls_x509_privkey_t key) const { gnutls_x509_privkey_deinit(key); }
  };
  std::unique_ptr<std::remove_pointer_t<gnutls_x509_privkey_t>, Deleter> key_;
};

// Somebody else's key, of whom it is proved that they have its private half.
class RequestedKey {
 public:
  // Of a request in DER, of which nothing but the key counts. Throws Error(refused) for what is no request, is not signed by the key in it,
  // or asks for a key that is weak (RSA below 2,048 bits), needlessly strong (RSA above 8,192) or of a kind that TLS 1.3 does not use.
  explicit RequestedKey(std::string_view request);
  [[nodiscard]] Digest id() const;
  [[nodiscard]] gnutls_pubkey_t get() const { return key_.get(); }

 private:
  struct Deleter {
    void operator()(gnutls_pubkey_t key) const { gnutls_pubkey_deinit(key); }
  };
  std::unique_ptr<std::remove_pointer_t<gnutls_pubkey_t>, Deleter> key_;
};

// Overwrites a secret in memory.
void wipe(std::string& secret) noexcept;

}  // namespace syncropy

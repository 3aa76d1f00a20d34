#include "transport/private-key.hpp"

#include <algorithm>

#include "transport/gnutls.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr unsigned least_rsa_bits = 2'048, most_rsa_bits = 8'192;

[[noreturn]] void refuse(const std::string& why) { throw Error(ExitStatus::refused, "the request for a certificate " + why, "make the key anew: syncropy-agent enroll makes one that is good"); }

struct RequestDeleter {
  void operator()(gnutls_x509_crq_t request) const { gnutls_x509_crq_deinit(request); }
};
using Request = std::unique_ptr<std::remove_pointer_t<gnutls_x509_crq_t>, RequestDeleter>;

Request new_request() {
  gnutls_x509_crq_t raw = nullptr;
  check_gnutls(gnutls_x509_crq_init(&raw), "make a request");
  return Request(raw);
}

void check_kind(int kind, unsigned bits) {
  switch (kind) {
    case GNUTLS_PK_RSA:
      if (bits < least_rsa_bits) refuse("is for an RSA key of " + std::to_string(bits) + " bits, which is weak: at least " + std::to_string(least_rsa_bits) + " are wanted");
      if (bits > most_rsa_bits) refuse("is for an RSA key of " + std::to_string(bits) + " bits: at most " + std::to_string(most_rsa_bits) + " are taken");
      return;
    case GNUTLS_PK_ECDSA:
      if (bits < 256) refuse("is for a key on a curve of " + std::to_string(bits) + " bits, which is weak");
      return;
    case GNUTLS_PK_EDDSA_ED25519: case GNUTLS_PK_EDDSA_ED448: return;
    default: refuse("is for a key of a kind that is not taken (RSA, ECDSA, Ed25519 and Ed448 are)");
  }
}

template <typename Get>
Digest key_id(Get get) {
  Digest id{};
  std::size_t size = id.size();
  check_gnutls(get(GNUTLS_KEYID_USE_SHA256, id.data(), &size), "take a key's digest");
  return id;
}

}  // namespace

PrivateKey::PrivateKey() {
  gnutls_x509_privkey_t raw = nullptr;
  check_gnutls(gnutls_x509_privkey_init(&raw), "make a key");
  key_.reset(raw);
  check_gnutls(gnutls_x509_privkey_generate(raw, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), "make a key");
}

PrivateKey::PrivateKey(std::string_view pem, std::string_view subject) {
  gnutls_x509_privkey_t raw = nullptr;
  check_gnutls(gnutls_x509_privkey_init(&raw), "make a key");
  key_.reset(raw);
  const gnutls_datum_t datum = datum_of(pem);
  if (const int code = gnutls_x509_privkey_import2(raw, &datum, GNUTLS_X509_FMT_PEM, nullptr, GNUTLS_PKCS_PLAIN); code < 0)
    throw Error(ExitStatus::refused, "the private key in " + escape(subject) + " cannot be read (" + gnutls_strerror(code) + ")", "restore it from a backup");
}

std::string PrivateKey::pem() const {
  gnutls_datum_t out{};
  check_gnutls(gnutls_x509_privkey_export2_pkcs8(key_.get(), GNUTLS_X509_FMT_PEM, nullptr, GNUTLS_PKCS_PLAIN, &out), "write a key");
  std::string text(reinterpret_cast<const char*>(out.data), out.size);
  gnutls_memset(out.data, 0, out.size);
  gnutls_free(out.data);
  return text;
}

Digest PrivateKey::id() const {
  return key_id([this](unsigned flags, unsigned char* into, std::size_t* size) { return gnutls_x509_privkey_get_key_id(key_.get(), flags, into, size); });
}

std::string PrivateKey::request() const {
  const Request request = new_request();
  check_gnutls(gnutls_x509_crq_set_version(request.get(), 1), "make a request");
  check_gnutls(gnutls_x509_crq_set_key(request.get(), key_.get()), "make a request");
  check_gnutls(gnutls_x509_crq_sign2(request.get(), key_.get(), GNUTLS_DIG_SHA256, 0), "sign a request");
  gnutls_datum_t out{};
  check_gnutls(gnutls_x509_crq_export2(request.get(), GNUTLS_X509_FMT_DER, &out), "write a request");
  return take_text(out);
}

RequestedKey::RequestedKey(std::string_view bytes) {
  if (bytes.size() > limits::request_bytes) refuse("has more than " + std::to_string(limits::request_bytes) + " bytes");
  const Request request = new_request();
  const gnutls_datum_t datum = datum_of(bytes);
  if (gnutls_x509_crq_import(request.get(), &datum, GNUTLS_X509_FMT_DER) < 0) refuse("is none (PKCS #10, DER)");
  gnutls_pubkey_t raw = nullptr;
  check_gnutls(gnutls_pubkey_init(&raw), "take a key");
  key_.reset(raw);
  if (gnutls_pubkey_import_x509_crq(raw, request.get(), 0) < 0) refuse("has a key that cannot be read");
  unsigned bits = 0;
  const int kind = gnutls_pubkey_get_pk_algorithm(raw, &bits);
  check_kind(kind, bits);
  if (gnutls_x509_crq_verify(request.get(), 0) < 0) refuse("is not signed by the key in it");
}

Digest RequestedKey::id() const {
  return key_id([this](unsigned flags, unsigned char* into, std::size_t* size) { return gnutls_pubkey_get_key_id(key_.get(), flags, into, size); });
}

void wipe(std::string& secret) noexcept {
  gnutls_memset(secret.data(), 0, secret.size());
  secret.clear();
}

}  // namespace syncropy

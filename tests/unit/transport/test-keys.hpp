#pragma once
// Real certificates and keys in a folder of their own, made by GnuTLS.

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace syncropy {

inline void must(int code) {
  if (code < 0) throw std::runtime_error(gnutls_strerror(code));
}

struct KeyPair {
  gnutls_x509_privkey_t key = nullptr;
  gnutls_x509_crt_t certificate = nullptr;
  KeyPair() {
    must(gnutls_x509_privkey_init(&key));
    must(gnutls_x509_crt_init(&certificate));
  }
  ~KeyPair() {
    gnutls_x509_privkey_deinit(key);
    gnutls_x509_crt_deinit(certificate);
  }
  KeyPair(const KeyPair&) = delete;
  KeyPair& operator=(const KeyPair&) = delete;
};

struct CertificateRequest {
  std::string common_name{};
  std::vector<std::string> dns_names{};
  std::vector<std::string> addresses{};  // four bytes each
  std::time_t from = std::time(nullptr) - 3'600, to = std::time(nullptr) + 86'400;
  bool is_ca = false;
};

class TestKeys {
 public:
  TestKeys() {
    std::string pattern = (std::filesystem::temp_directory_path() / "syncropy-tls-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = pattern;
  }
  ~TestKeys() { std::filesystem::remove_all(folder_); }
  TestKeys(const TestKeys&) = delete;
  TestKeys& operator=(const TestKeys&) = delete;

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

  // NAME.crt and NAME.key; without `issuer` signed by itself.
  void make(const std::string& name, const CertificateRequest& request, const KeyPair* issuer, KeyPair& pair) const {
    must(gnutls_x509_privkey_generate(pair.key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    gnutls_x509_crt_t certificate = pair.certificate;
    must(gnutls_x509_crt_set_version(certificate, 3));
    static unsigned char serial = 0;
    ++serial;
    must(gnutls_x509_crt_set_serial(certificate, &serial, 1));
    must(gnutls_x509_crt_set_activation_time(certificate, request.from));
    must(gnutls_x509_crt_set_expiration_time(certificate, request.to));
    must(gnutls_x509_crt_set_key(certificate, pair.key));
    const std::string& common_name = request.common_name;
    if (!common_name.empty())
      must(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, common_name.data(), static_cast<unsigned>(common_name.size())));
    for (const std::string& dns : request.dns_names)
      must(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, dns.data(), static_cast<unsigned>(dns.size()), GNUTLS_FSAN_APPEND));
    for (const std::string& address : request.addresses)
      must(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, address.data(), static_cast<unsigned>(address.size()), GNUTLS_FSAN_APPEND));
    if (request.is_ca) must(gnutls_x509_crt_set_basic_constraints(certificate, 1, -1));
    must(gnutls_x509_crt_sign2(certificate, issuer == nullptr ? certificate : issuer->certificate, issuer == nullptr ? pair.key : issuer->key, GNUTLS_DIG_SHA256, 0));
    gnutls_datum_t pem{};
    must(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem));
    write(name + ".crt", pem);
    must(gnutls_x509_privkey_export2(pair.key, GNUTLS_X509_FMT_PEM, &pem));
    write(name + ".key", pem);
  }
  void make(const std::string& name, const CertificateRequest& request, const KeyPair* issuer = nullptr) const {
    KeyPair pair;
    make(name, request, issuer, pair);
  }
  void write(const std::string& name, std::string_view bytes) const { std::ofstream(path(name), std::ios::binary) << bytes; }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream in(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  void write(const std::string& name, gnutls_datum_t& pem) const {
    write(name, std::string_view(reinterpret_cast<const char*>(pem.data), pem.size));
    gnutls_free(pem.data);
    pem.data = nullptr;
  }
  std::string folder_;
};

// One private CA, one foreign CA, and what they signed; made once for all tests of a program.
struct Cast {
  TestKeys keys;
  KeyPair ca, foreign_ca;
  Cast() {
    const std::time_t now = std::time(nullptr);
    keys.make("ca", {.common_name = "Test CA", .is_ca = true}, nullptr, ca);
    keys.make("foreign-ca", {.common_name = "Foreign CA", .is_ca = true}, nullptr, foreign_ca);
    keys.make("agent", {.common_name = "ignored", .dns_names = {"web1.example.org", "*.pool.example.org"}, .addresses = {std::string("\x7f\0\0\1", 4)}}, &ca);
    keys.make("server", {.common_name = "backup.example.org"}, &ca);
    keys.make("foreign", {.common_name = "backup.example.org"}, &foreign_ca);
    keys.make("expired", {.common_name = "backup.example.org", .from = now - 200'000, .to = now - 100'000}, &ca);
    keys.make("early", {.common_name = "backup.example.org", .from = now + 100'000, .to = now + 200'000}, &ca);
    keys.make("self", {.common_name = "syncropy"});
    keys.make("other-self", {.common_name = "syncropy"});
    keys.make("expired-self", {.common_name = "syncropy", .from = now - 200'000, .to = now - 100'000});
  }
};

inline const Cast& cast() {
  static const Cast one;
  return one;
}

}  // namespace syncropy

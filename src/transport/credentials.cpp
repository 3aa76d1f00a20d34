#include "transport/credentials.hpp"

#include <gnutls/abstract.h>

#include "model/dataset.hpp"
#include "transport/gnutls.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

struct KeyDeleter {
  void operator()(gnutls_x509_privkey_t key) const { gnutls_x509_privkey_deinit(key); }
};
using Key = std::unique_ptr<std::remove_pointer_t<gnutls_x509_privkey_t>, KeyDeleter>;

[[noreturn]] void refuse(const std::string& why, std::string remedy) { throw Error(ExitStatus::refused, why, std::move(remedy)); }

void check(int code, const char* tried) {
  check_gnutls(code, tried);
}

// The first PEM block whose label ends with PRIVATE KEY; a file may hold parameters and certificates besides. Empty: none.
std::string_view key_block(std::string_view pem) {
  static constexpr std::string_view begin = "-----BEGIN ", label_end = "PRIVATE KEY-----", end = "-----END ";
  for (std::size_t at = pem.find(begin); at != std::string_view::npos; at = pem.find(begin, at + 1)) {
    const std::string_view line = pem.substr(at, pem.find('\n', at) - at);
    if (line.find(label_end) == std::string_view::npos) continue;
    const std::size_t last = pem.find(end, at);
    if (last == std::string_view::npos) return {};
    return pem.substr(at, pem.find('\n', last) - at);
  }
  return {};
}

// PKCS#8 and the traditional form of `openssl genrsa -des3` (RFC 1421 headers).
bool is_encrypted(std::string_view block) {
  return block.find("ENCRYPTED PRIVATE KEY") != std::string_view::npos || block.find("Proc-Type: 4,ENCRYPTED") != std::string_view::npos;
}

Key load_key(const std::string& file, const std::string& password) {
  std::string pem = load_pem(file, "private key");
  const std::string_view block = key_block(pem);
  if (block.empty()) refuse("there is no private key in PEM form in " + escape(file), "it must have a block that begins with '-----BEGIN ... PRIVATE KEY-----'");
  const bool encrypted = is_encrypted(block);
  if (encrypted && password.empty())
    refuse("the private key in " + escape(file) + " is encrypted, and no password is set", "set 'sslpass' to its password, or take the encryption off (openssl pkey -in " + escape(file) + ")");
  gnutls_x509_privkey_t raw = nullptr;
  check(gnutls_x509_privkey_init(&raw), "make a key");
  Key key(raw);
  std::string text(block);
  text += '\n';
  const gnutls_datum_t datum{reinterpret_cast<unsigned char*>(text.data()), static_cast<unsigned>(text.size())};
  const int code = gnutls_x509_privkey_import2(key.get(), &datum, GNUTLS_X509_FMT_PEM, encrypted ? password.c_str() : nullptr, 0);
  gnutls_memset(text.data(), 0, text.size());
  gnutls_memset(pem.data(), 0, pem.size());
  // The traditional form has no check value: a wrong password may decrypt to what merely does not parse.
  if (code < 0 && encrypted)
    refuse("the password does not open the private key in " + escape(file) + " (" + gnutls_strerror(code) + ")", "correct 'sslpass'; openssl pkey -in " + escape(file) + " -noout tries one");
  if (code < 0) refuse("the private key in " + escape(file) + " cannot be read (" + gnutls_strerror(code) + ")", "make it anew, or restore it from a backup");
  return key;
}

void check_own(gnutls_x509_crt_t certificate, const std::string& file) {
  if (validity_of(certificate) == Validity::valid) return;
  refuse("the own certificate " + escape(file) + " " + describe_validity(certificate), validity_of(certificate) == Validity::not_yet ? "check this machine's clock" : "make or request a new one");
}

bool fit_together(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key) {
  unsigned char first[64], second[64];
  std::size_t first_size = sizeof first, second_size = sizeof second;
  return gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, first, &first_size) == 0 &&
         gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, second, &second_size) == 0 &&
         std::string_view(reinterpret_cast<char*>(first), first_size) == std::string_view(reinterpret_cast<char*>(second), second_size);
}

// GnuTLS looks at a list only where its issuer is named as a certificate's is: one of another CA would do nothing, and nobody would know.
void take_revoked(gnutls_certificate_credentials_t credentials, const std::string& file, std::vector<gnutls_x509_crt_t>& authorities) {
  std::string bytes = load_pem(file, "list of revoked certificates");
  const gnutls_datum_t datum{reinterpret_cast<unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())};
  gnutls_x509_crl_t* lists = nullptr;
  unsigned count = 0;
  if (const int code = gnutls_x509_crl_list_import2(&lists, &count, &datum, GNUTLS_X509_FMT_PEM, 0); code < 0)
    refuse("there is no list of revoked certificates in PEM form in " + escape(file) + " (" + gnutls_strerror(code) + ")", "it must have a block that begins with '-----BEGIN X509 CRL-----'");
  const auto free_lists = [count](gnutls_x509_crl_t* all) {
    for (unsigned i = 0; i < count; ++i) gnutls_x509_crl_deinit(all[i]);
    gnutls_free(all);
  };
  const std::unique_ptr<gnutls_x509_crl_t, decltype(free_lists)> owner(lists, free_lists);
  for (unsigned i = 0; i < count; ++i) {
    unsigned status = 0;
    const int code = gnutls_x509_crl_verify(lists[i], authorities.data(), static_cast<unsigned>(authorities.size()), 0, &status);
    if (code == 0 && (status & ~unsigned{GNUTLS_CERT_INVALID}) == GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED)
      refuse("the list of revoked certificates " + escape(file) + " was to be replaced by " + format_time(gnutls_x509_crl_get_next_update(lists[i])), "have the CA make a new one");
    if (code < 0 || status != 0) refuse("the list of revoked certificates " + escape(file) + " is not one of this CA's", "have the CA make it, or leave 'sslcrl' out");
  }
  check(gnutls_certificate_set_x509_crl(credentials, lists, static_cast<int>(count)), "take the list of revoked certificates");
}

}  // namespace

TlsCredentials::TlsCredentials(const TlsFiles& files) : state_(std::make_shared<State>()) {
  if (files.certificate.empty()) refuse("TLS is asked for, but no certificate is set", "set 'sslcert' and 'sslkey'");
  if (files.ca.empty() && files.pins.empty()) refuse("TLS is asked for, but neither a CA nor a pinned certificate says whom to believe", "set 'sslca' or 'sslpin'");
  gnutls_certificate_credentials_t raw = nullptr;
  check(gnutls_certificate_allocate_credentials(&raw), "make credentials");
  state_->credentials.reset(raw);

  const std::string& key_file = files.key.empty() ? files.certificate : files.key;
  const std::vector<Certificate> chain = load_certificates(files.certificate, "certificate");
  const Key key = load_key(key_file, files.password);
  if (!fit_together(chain.front().get(), key.get()))
    refuse("the private key in " + escape(key_file) + " does not belong to the certificate " + escape(files.certificate), "name the key that the certificate was made with");
  check_own(chain.front().get(), files.certificate);
  std::vector<gnutls_x509_crt_t> links;
  for (const Certificate& certificate : chain) links.push_back(certificate.get());
  check(gnutls_certificate_set_x509_key(raw, links.data(), static_cast<int>(links.size()), key.get()), "take the certificate and its key");

  if (!files.ca.empty()) {
    const std::vector<Certificate> authorities = load_certificates(files.ca, "CA");
    std::vector<gnutls_x509_crt_t> list;
    for (const Certificate& authority : authorities) list.push_back(authority.get());
    check(gnutls_certificate_set_x509_trust(raw, list.data(), static_cast<int>(list.size())), "take the CA");
    state_->ca_file = files.ca;
    if (!files.revoked.empty()) take_revoked(raw, files.revoked, list);
  }
  for (const std::string& file : files.pins) {
    for (const Certificate& certificate : load_certificates(file, "pinned certificate")) state_->pins.push_back(der_of(certificate.get()));
    state_->pin_files.push_back(file);
  }
}

}  // namespace syncropy

#include "transport/authority.hpp"

#include <arpa/inet.h>
#include <gnutls/crypto.h>

#include <algorithm>
#include <array>

#include "transport/certificate.hpp"
#include "transport/gnutls.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr std::size_t serial_bytes = 16;
constexpr std::size_t common_name_bytes = 64;  // ub-common-name, RFC 5280

using Serial = std::array<unsigned char, serial_bytes>;

Certificate new_certificate() {
  gnutls_x509_crt_t raw = nullptr;
  check_gnutls(gnutls_x509_crt_init(&raw), "make a certificate");
  return Certificate(raw);
}

Certificate certificate_in(std::string_view bytes, gnutls_x509_crt_fmt_t format, std::string_view subject) {
  Certificate certificate = new_certificate();
  const gnutls_datum_t datum = datum_of(bytes);
  if (const int code = gnutls_x509_crt_import(certificate.get(), &datum, format); code < 0)
    throw Error(ExitStatus::refused, escape(subject) + " cannot be read (" + gnutls_strerror(code) + ")", "restore it from a backup, or have a new one made");
  return certificate;
}

// Positive, of a length that never varies, and nobody guesses the next one.
Serial new_serial() {
  Serial serial{};
  check_gnutls(gnutls_rnd(GNUTLS_RND_NONCE, serial.data(), serial.size()), "draw a number");
  serial[0] = static_cast<unsigned char>((serial[0] & 0x3F) | 0x40);
  return serial;
}

std::string hex(const Serial& serial) {
  std::string text;
  for (const unsigned char byte : serial) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// Of any length that RFC 5280 allows: certificates that somebody signed by hand can be revoked too.
std::string bytes_of_hex(std::string_view text) {
  std::string bytes;
  auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) bytes += static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1]));
  return bytes;
}

void add_name(gnutls_x509_crt_t certificate, const std::string& name) {
  in6_addr address{};
  for (const auto& [family, size] : {std::pair{AF_INET, 4U}, std::pair{AF_INET6, 16U}}) {
    if (::inet_pton(family, name.c_str(), &address) != 1) continue;
    return check_gnutls(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, &address, size, GNUTLS_FSAN_APPEND), "name a certificate");
  }
  check_gnutls(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, name.data(), static_cast<unsigned>(name.size()), GNUTLS_FSAN_APPEND), "name a certificate");
}

void set_common_name(gnutls_x509_crt_t certificate, const std::string& name) {
  const std::string cut = name.substr(0, common_name_bytes);
  check_gnutls(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, cut.data(), static_cast<unsigned>(cut.size())), "name a certificate");
}

void set_purposes(gnutls_x509_crt_t certificate, Part part) {
  const char* main = part == Part::server ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER;
  check_gnutls(gnutls_x509_crt_set_key_purpose_oid(certificate, main, 0), "limit a certificate");
  if (part == Part::enrolment) check_gnutls(gnutls_x509_crt_set_key_purpose_oid(certificate, enrolment_purpose, 0), "limit a certificate");
}

void set_times(gnutls_x509_crt_t certificate, std::time_t from, std::time_t to) {
  check_gnutls(gnutls_x509_crt_set_activation_time(certificate, from), "date a certificate");
  check_gnutls(gnutls_x509_crt_set_expiration_time(certificate, to), "date a certificate");
}

// A key's identifier within certificates: any that tells keys apart will do.
void set_key_ids(gnutls_x509_crt_t certificate, const Digest& own, const Digest& issuer) {
  constexpr std::size_t size = 20;
  check_gnutls(gnutls_x509_crt_set_subject_key_id(certificate, own.data(), size), "mark a certificate");
  check_gnutls(gnutls_x509_crt_set_authority_key_id(certificate, issuer.data(), size), "mark a certificate");
}

}  // namespace

bool is_certificate_name(std::string_view name) {
  if (name.empty() || name.size() > limits::certificate_name_bytes || name.find('\0') != std::string_view::npos) return false;
  in6_addr address{};
  if (const std::string text(name); ::inet_pton(AF_INET6, text.c_str(), &address) == 1) return true;
  auto is_letter_or_digit = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return is_letter_or_digit(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) { return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-'; });
}

Authority::Authority(const std::string& name, std::time_t from, std::time_t to) { sign_root(name, from, to); }

Authority::Authority(std::string_view certificate, std::string_view key)
    : key_(key, "the CA's key"), certificate_(certificate_in(certificate, GNUTLS_X509_FMT_PEM, "the CA's certificate")) {
  if (key_id_of(certificate_.get()) != key_.id())
    throw Error(ExitStatus::refused, "the CA's key and its certificate do not belong together", "restore both from one backup");
}

void Authority::sign_root(const std::string& name, std::time_t from, std::time_t to) {
  Certificate root = new_certificate();
  check_gnutls(gnutls_x509_crt_set_version(root.get(), 3), "make a certificate");
  const Serial serial = new_serial();
  check_gnutls(gnutls_x509_crt_set_serial(root.get(), serial.data(), serial.size()), "number a certificate");
  set_times(root.get(), from, to);
  set_common_name(root.get(), name);
  check_gnutls(gnutls_x509_crt_set_key(root.get(), key_.get()), "make a certificate");
  check_gnutls(gnutls_x509_crt_set_basic_constraints(root.get(), 1, 0), "limit a certificate");
  check_gnutls(gnutls_x509_crt_set_key_usage(root.get(), GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN), "limit a certificate");
  set_key_ids(root.get(), key_.id(), key_.id());
  check_gnutls(gnutls_x509_crt_sign2(root.get(), root.get(), key_.get(), GNUTLS_DIG_SHA256, 0), "sign a certificate");
  certificate_ = std::move(root);
}

void Authority::renew(std::time_t from, std::time_t to) {
  const std::vector<std::string> names = names_of(certificate_.get());
  sign_root(names.empty() ? "Syncropy CA" : names.front(), from, to);
}

template <typename SetKey>
IssuedCertificate Authority::issue_with(SetKey set_key, const CertificateTerms& terms) const {
  if (terms.names.empty() || terms.names.size() > limits::certificate_names || !std::all_of(terms.names.begin(), terms.names.end(), is_certificate_name))
    throw Error(ExitStatus::internal, "a certificate with names that cannot be was asked for");
  if (validity_of(certificate_.get()) != Validity::valid)
    throw Error(ExitStatus::config, "the CA's certificate " + describe_validity(certificate_.get()), "check this machine's clock; a CA that has expired is renewed with 'syncropy ca renew'");
  IssuedCertificate issued;
  issued.from = std::max(terms.from, from());
  issued.to = std::min(terms.to, to());
  const Certificate certificate = new_certificate();
  check_gnutls(gnutls_x509_crt_set_version(certificate.get(), 3), "make a certificate");
  const Serial serial = new_serial();
  issued.serial = hex(serial);
  check_gnutls(gnutls_x509_crt_set_serial(certificate.get(), serial.data(), serial.size()), "number a certificate");
  set_times(certificate.get(), issued.from, issued.to);
  set_common_name(certificate.get(), terms.names.front());
  for (const std::string& name : terms.names) add_name(certificate.get(), name);
  check_gnutls(set_key(certificate.get()), "take the key of a certificate");
  check_gnutls(gnutls_x509_crt_set_basic_constraints(certificate.get(), 0, -1), "limit a certificate");
  check_gnutls(gnutls_x509_crt_set_key_usage(certificate.get(), GNUTLS_KEY_DIGITAL_SIGNATURE), "limit a certificate");
  set_purposes(certificate.get(), terms.part);
  set_key_ids(certificate.get(), key_id_of(certificate.get()), key_.id());
  check_gnutls(gnutls_x509_crt_sign2(certificate.get(), certificate_.get(), key_.get(), GNUTLS_DIG_SHA256, 0), "sign a certificate");
  issued.der = der_of(certificate.get());
  return issued;
}

IssuedCertificate Authority::issue(const RequestedKey& key, const CertificateTerms& terms) const {
  return issue_with([&](gnutls_x509_crt_t certificate) { return gnutls_x509_crt_set_pubkey(certificate, key.get()); }, terms);
}

IssuedCertificate Authority::issue(const PrivateKey& key, const CertificateTerms& terms) const {
  return issue_with([&](gnutls_x509_crt_t certificate) { return gnutls_x509_crt_set_key(certificate, key.get()); }, terms);
}

std::string Authority::revocation_list(const std::vector<std::pair<std::string, std::time_t>>& revoked, std::time_t now) const {
  gnutls_x509_crl_t raw = nullptr;
  check_gnutls(gnutls_x509_crl_init(&raw), "make a revocation list");
  const std::unique_ptr<std::remove_pointer_t<gnutls_x509_crl_t>, void (*)(gnutls_x509_crl_t)> list(raw, gnutls_x509_crl_deinit);
  check_gnutls(gnutls_x509_crl_set_version(raw, 2), "make a revocation list");
  check_gnutls(gnutls_x509_crl_set_this_update(raw, now), "date a revocation list");
  check_gnutls(gnutls_x509_crl_set_next_update(raw, to()), "date a revocation list");
  for (const auto& [serial, when] : revoked) {
    const std::string bytes = bytes_of_hex(serial);
    check_gnutls(gnutls_x509_crl_set_crt_serial(raw, bytes.data(), bytes.size(), when), "list a certificate");
  }
  // Rises with time (RFC 5280, 5.2.3), in eight bytes that are never negative.
  std::array<unsigned char, 8> number{};
  for (std::size_t i = 0; i < number.size(); ++i) number[number.size() - 1 - i] = static_cast<unsigned char>(static_cast<std::uint64_t>(now) >> (8 * i));
  check_gnutls(gnutls_x509_crl_set_number(raw, number.data(), number.size()), "number a revocation list");
  const Digest id = key_.id();
  check_gnutls(gnutls_x509_crl_set_authority_key_id(raw, id.data(), 20), "mark a revocation list");
  check_gnutls(gnutls_x509_crl_sign2(raw, certificate_.get(), key_.get(), GNUTLS_DIG_SHA256, 0), "sign a revocation list");
  gnutls_datum_t out{};
  check_gnutls(gnutls_x509_crl_export2(raw, GNUTLS_X509_FMT_PEM, &out), "write a revocation list");
  return take_text(out);
}

std::string Authority::certificate_pem() const { return pem_of_certificate(certificate_der()); }

std::string pem_of_certificate(std::string_view der) {
  const Certificate certificate = certificate_in(der, GNUTLS_X509_FMT_DER, "a certificate");
  gnutls_datum_t out{};
  check_gnutls(gnutls_x509_crt_export2(certificate.get(), GNUTLS_X509_FMT_PEM, &out), "write a certificate");
  return take_text(out);
}

std::string der_of_certificate(std::string_view pem, std::string_view subject) { return der_of(certificate_in(pem, GNUTLS_X509_FMT_PEM, subject).get()); }

CertificateFacts facts_of_certificate(std::string_view der) {
  const Certificate certificate = certificate_in(der, GNUTLS_X509_FMT_DER, "a certificate");
  return {names_of(certificate.get()), serial_of(certificate.get()), gnutls_x509_crt_get_activation_time(certificate.get()),
          gnutls_x509_crt_get_expiration_time(certificate.get()), key_id_of(certificate.get())};
}

CertificateFacts check_issued(std::string_view der, std::string_view root_der, const Digest& key_id) {
  const Certificate certificate = certificate_in(der, GNUTLS_X509_FMT_DER, "the certificate that came"), root = certificate_in(root_der, GNUTLS_X509_FMT_DER, "the CA's certificate");
  CertificateFacts facts = facts_of_certificate(der);
  gnutls_x509_crt_t issuer = root.get();
  unsigned status = 0, is_ca = 0;
  auto refuse = [](const std::string& why) { throw Error(ExitStatus::refused, "the certificate that came " + why, "look into the journal of the server, and try again"); };
  if (gnutls_x509_crt_verify(certificate.get(), &issuer, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status) != 0 || status != 0) refuse("is not signed by the CA");
  if (facts.key_id != key_id) refuse("is for another key");
  if (validity_of(certificate.get()) != Validity::valid) refuse(describe_validity(certificate.get()));
  if (gnutls_x509_crt_get_basic_constraints(certificate.get(), nullptr, &is_ca, nullptr) >= 0 && is_ca != 0) refuse("is a CA's");
  if (gnutls_x509_crt_check_key_purpose(certificate.get(), GNUTLS_KP_TLS_WWW_SERVER, 0) == 0) refuse("is no agent's");
  if (facts.names.empty() || !std::all_of(facts.names.begin(), facts.names.end(), is_certificate_name)) refuse("has names that cannot be");
  return facts;
}

}  // namespace syncropy

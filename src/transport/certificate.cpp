#include "transport/certificate.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "model/dataset.hpp"
#include "transport/gnutls.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::size_t pem_bytes = 1U << 20;
constexpr unsigned most_names = 100;
constexpr unsigned most_certificates = 1'000;
constexpr std::size_t most_serial_bytes = 128;  // RFC 5280 allows 20

bool equal_but_for_case(std::string_view left, std::string_view right) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [&](char a, char b) { return lower(a) == lower(b); });
}

std::string common_name(gnutls_x509_crt_t certificate) {
  std::string name(512, '\0');
  std::size_t size = name.size();
  if (gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name.data(), &size) != 0) return {};
  name.resize(size);
  return name;
}

struct AlternativeNames {
  bool any = false;
  std::vector<std::string> dns;
};

AlternativeNames alternative_names(gnutls_x509_crt_t certificate) {
  AlternativeNames found;
  for (unsigned i = 0; i < most_names; ++i) {
    std::string name(1'024, '\0');
    std::size_t size = name.size();
    const int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, name.data(), &size, nullptr);
    if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) break;
    found.any = true;
    if (type != GNUTLS_SAN_DNSNAME) continue;
    name.resize(size);
    found.dns.push_back(std::move(name));
  }
  return found;
}

}  // namespace

std::string load_pem(const std::string& file, std::string_view what) {
  // Not read_file: certificates are often reached through symbolic links (certbot's live/).
  const Fd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd && errno == ENOENT)
    throw_errno(ExitStatus::no_input, "read the " + std::string(what), file, "check the file's name in the configuration, or make the file");
  if (!fd) throw_errno(ExitStatus::refused, "read the " + std::string(what), file, "make it readable for the user that this program runs as");
  return read_all(fd.get(), pem_bytes, ExitStatus::refused, file);
}

std::vector<Certificate> load_certificates(const std::string& file, std::string_view what) {
  std::string bytes = load_pem(file, what);
  const gnutls_datum_t datum{reinterpret_cast<unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())};
  gnutls_x509_crt_t* list = nullptr;
  unsigned count = 0;
  const int code = gnutls_x509_crt_list_import2(&list, &count, &datum, GNUTLS_X509_FMT_PEM, 0);
  if (code < 0)
    throw Error(ExitStatus::refused, "there is no certificate in PEM form in " + escape(file) + ", the " + std::string(what) + " (" + gnutls_strerror(code) + ")",
                "it must have a block that begins with '-----BEGIN CERTIFICATE-----'");
  std::vector<Certificate> certificates;
  certificates.reserve(count);
  for (unsigned i = 0; i < count; ++i) certificates.emplace_back(list[i]);
  gnutls_free(list);
  if (count == 0 || count > most_certificates)
    throw Error(ExitStatus::refused, escape(file) + ", the " + std::string(what) + ", has " + std::to_string(count) + " certificates in it", "put 1 to " + std::to_string(most_certificates) + " there");
  return certificates;
}

std::string der_of(gnutls_x509_crt_t certificate) {
  gnutls_datum_t der{};
  if (const int code = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_DER, &der); code < 0)
    throw Error(ExitStatus::refused, std::string("a certificate cannot be written as DER (") + gnutls_strerror(code) + ")", "make a new one");
  const std::unique_ptr<unsigned char, void (*)(void*)> owner(der.data, gnutls_free);
  return {reinterpret_cast<const char*>(der.data), der.size};
}

std::vector<std::string> names_of(gnutls_x509_crt_t certificate) {
  AlternativeNames names = alternative_names(certificate);
  if (names.dns.empty())
    if (std::string name = common_name(certificate); !name.empty()) names.dns.push_back(std::move(name));
  return std::move(names.dns);
}

bool carries_name(gnutls_x509_crt_t certificate, const std::string& name) {
  if (name.empty() || name.find('\0') != std::string::npos) return false;
  if (gnutls_x509_crt_check_hostname2(certificate, name.c_str(), 0) != 0) return true;
  // GnuTLS looks at the common name for a TLS server's purpose alone; a private CA's certificates may be for either side.
  return !alternative_names(certificate).any && equal_but_for_case(common_name(certificate), name);
}

Validity validity_of(gnutls_x509_crt_t certificate) {
  const std::time_t now = std::time(nullptr);
  if (now < gnutls_x509_crt_get_activation_time(certificate)) return Validity::not_yet;
  return now > gnutls_x509_crt_get_expiration_time(certificate) ? Validity::expired : Validity::valid;
}

std::string describe_validity(gnutls_x509_crt_t certificate) {
  if (validity_of(certificate) == Validity::not_yet)
    return "is not valid before " + format_time(gnutls_x509_crt_get_activation_time(certificate)) + " (this machine's clock says " + format_time(std::time(nullptr)) + ")";
  return "expired on " + format_time(gnutls_x509_crt_get_expiration_time(certificate));
}

Digest key_id_of(gnutls_x509_crt_t certificate) {
  Digest id{};
  std::size_t size = id.size();
  check_gnutls(gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, id.data(), &size), "take a key's digest");
  return id;
}

std::string serial_of(gnutls_x509_crt_t certificate) {
  std::array<unsigned char, most_serial_bytes> bytes{};
  std::size_t size = bytes.size();
  if (gnutls_x509_crt_get_serial(certificate, bytes.data(), &size) != 0) return {};
  std::string hex;
  for (std::size_t i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[bytes[i] >> 4];
    hex += "0123456789abcdef"[bytes[i] & 15];
  }
  return hex;
}

std::string describe(gnutls_x509_crt_t certificate) {
  std::string text;
  for (const std::string& name : names_of(certificate)) {
    if (text.size() > 200) break;
    text += (text.empty() ? "'" : ", '") + escape(name) + "'";
  }
  return (text.empty() ? "without a name" : text) + " (SHA-256 " + to_hex(digest_of(der_of(certificate))).substr(0, 16) + "...)";
}

}  // namespace syncropy

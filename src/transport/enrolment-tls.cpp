#include "transport/enrolment-tls.hpp"

#include <algorithm>
#include <functional>

#include "transport/certificate.hpp"
#include "transport/gnutls.hpp"
#include "transport/tls-stream.hpp"

namespace syncropy {
namespace {

constexpr unsigned most_links = 4;        // of a chain: the service shows its certificate and the root
constexpr std::time_t clock_skew = 3'600, a_day = 86'400;

using Anchors = std::vector<Certificate>;

std::shared_ptr<TlsCredentials::State> empty_state() {
  auto state = std::make_shared<TlsCredentials::State>();
  gnutls_certificate_credentials_t raw = nullptr;
  check_gnutls(gnutls_certificate_allocate_credentials(&raw), "make credentials");
  state->credentials.reset(raw);
  return state;
}

Certificate import_der(const gnutls_datum_t& der) {
  gnutls_x509_crt_t raw = nullptr;
  check_gnutls(gnutls_x509_crt_init(&raw), "read a certificate");
  Certificate certificate(raw);
  if (gnutls_x509_crt_import(raw, &der, GNUTLS_X509_FMT_DER) < 0) return {};
  return certificate;
}

Anchors chain_of(gnutls_session_t session) {
  unsigned count = 0;
  const gnutls_datum_t* links = gnutls_certificate_get_peers(session, &count);
  Anchors chain;
  for (unsigned i = 0; links != nullptr && i < std::min(count, most_links); ++i)
    if (Certificate link = import_der(links[i])) chain.push_back(std::move(link));
  return chain;
}

// By signature and constraints alone: times are looked at where they can be told.
bool is_signed_by(gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer) {
  unsigned status = 0;
  return gnutls_x509_crt_verify(certificate, &issuer, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status) == 0 && status == 0;
}

bool is_root(gnutls_x509_crt_t certificate) {
  unsigned is_ca = 0;
  return gnutls_x509_crt_get_basic_constraints(certificate, nullptr, &is_ca, nullptr) >= 0 && is_ca != 0 && gnutls_x509_crt_check_issuer(certificate, certificate) != 0 &&
         is_signed_by(certificate, certificate);
}

bool is_for(gnutls_x509_crt_t certificate, const char* purpose) {
  return gnutls_x509_crt_check_key_purpose(certificate, purpose, GNUTLS_KP_FLAG_DISALLOW_ANY) != 0;
}

// It has a purpose of its own at all, and this one among them: a certificate without any is good for everything elsewhere, and not here.
bool is_made_for(gnutls_x509_crt_t certificate, const char* purpose) {
  char first[64];
  std::size_t size = sizeof first;
  return gnutls_x509_crt_get_key_purpose_oid(certificate, 0, first, &size, nullptr) >= 0 && is_for(certificate, purpose);
}

PeerVerdict refused(const std::string& why, std::string remedy, gnutls_alert_description_t alert) {
  PeerVerdict verdict;
  verdict.refusal = Refusal{Error(ExitStatus::refused, why, std::move(remedy)), alert};
  return verdict;
}

// What an applicant sees of the service. `expected`: whether a root's key is the one it believes. `root` gets the root in DER.
PeerVerdict check_service(gnutls_session_t session, const std::function<bool(const Digest&)>& expected, const Parties& parties, std::string& root) {
  const Anchors chain = chain_of(session);
  if (chain.empty()) return refused(parties.them + " presented no certificate that can be read", "check the server's name and the port", GNUTLS_A_CERTIFICATE_REQUIRED);
  gnutls_x509_crt_t leaf = chain.front().get();
  const auto anchor = std::find_if(chain.begin() + 1, chain.end(), [&](const Certificate& link) { return expected(key_id_of(link.get())) && is_root(link.get()); });
  if (anchor == chain.end())
    return refused(parties.them + " is not the server that this machine is to believe: its CA has another key, and nothing was sent to it",
                   "check the server's name and address; a token is good with the server that it was made on alone", GNUTLS_A_UNKNOWN_CA);
  const std::string subject = "the certificate of " + parties.them;
  if (!is_signed_by(leaf, anchor->get()) || !is_made_for(leaf, GNUTLS_KP_TLS_WWW_SERVER) || !is_made_for(leaf, enrolment_purpose))
    return refused(subject + " is not one of an enrolment service", "check the server's name and the port; if that is the right machine, find out who answers there", GNUTLS_A_BAD_CERTIFICATE);
  PeerVerdict verdict;
  verdict.identity = identity_of(leaf);
  root = der_of(anchor->get());
  if (validity_of(anchor->get()) != Validity::valid) verdict.refusal = untimely(anchor->get(), "the CA of " + parties.them);
  else if (validity_of(leaf) != Validity::valid) verdict.refusal = untimely(leaf, subject);
  return verdict;
}

EnrolmentChannel connect_as_applicant(Socket socket, std::shared_ptr<const TlsCredentials::State> state, std::function<bool(const Digest&)> expected, unsigned stall_seconds) {
  const Parties parties{Side::applicant, "the enrolment service at " + socket.peer};
  EnrolmentChannel channel;
  auto check = [&channel, expected = std::move(expected), parties](gnutls_session_t session) { return check_service(session, expected, parties, channel.authority); };
  channel.secured = secure(std::move(socket), {std::move(state), check, parties, "the enrolment service"}, stall_seconds);
  return channel;
}

PeerVerdict check_applicant(gnutls_session_t session, gnutls_x509_crt_t root, const Parties& parties) {
  const Certificate certificate = peer_certificate(session);
  if (!certificate) return {};
  const std::string subject = "the certificate " + describe(certificate.get()) + " of " + parties.them;
  if (!is_signed_by(certificate.get(), root)) return refused(subject + " is not signed by this CA", "enrol that machine: syncropy enroll NAME", GNUTLS_A_UNKNOWN_CA);
  if (!is_made_for(certificate.get(), GNUTLS_KP_TLS_WWW_SERVER) || is_made_for(certificate.get(), enrolment_purpose))
    return refused(subject + " is no agent's", "an agent renews with its own certificate", GNUTLS_A_UNSUPPORTED_CERTIFICATE);
  PeerVerdict verdict;
  verdict.identity = identity_of(certificate.get());
  if (validity_of(certificate.get()) != Validity::valid) verdict.refusal = untimely(certificate.get(), subject);
  return verdict;
}

}  // namespace

EnrolmentChannel connect_to_enrolment(Socket socket, std::span<const std::uint8_t, 16> authority, unsigned stall_seconds) {
  const std::vector<std::uint8_t> pin(authority.begin(), authority.end());
  return connect_as_applicant(std::move(socket), empty_state(), [pin](const Digest& key) { return std::equal(pin.begin(), pin.end(), key.begin()); }, stall_seconds);
}

EnrolmentChannel connect_to_enrolment(Socket socket, const TlsFiles& own, unsigned stall_seconds) {
  const TlsCredentials credentials(own);
  std::vector<Digest> keys;
  for (const Certificate& root : load_certificates(own.ca, "CA")) keys.push_back(key_id_of(root.get()));
  return connect_as_applicant(std::move(socket), credentials.state(), [keys](const Digest& key) { return std::find(keys.begin(), keys.end(), key) != keys.end(); }, stall_seconds);
}

SecuredStream accept_enrolment(Socket socket, const Authority& authority, const std::vector<std::string>& names, unsigned stall_seconds) {
  const PrivateKey key;
  const std::time_t now = std::time(nullptr);
  const IssuedCertificate issued = authority.issue(key, {names, Part::enrolment, now - clock_skew, now + a_day});
  const Certificate leaf = import_der(datum_of(issued.der));
  const std::string root_bytes = authority.certificate_der();
  const Certificate root = import_der(datum_of(root_bytes));
  auto state = empty_state();
  gnutls_x509_crt_t chain[] = {leaf.get(), root.get()};
  check_gnutls(gnutls_certificate_set_x509_key(state->credentials.get(), chain, 2, key.get()), "take a certificate and its key");
  const Parties parties{Side::enrolment, "the machine at " + socket.peer};
  TlsTerms terms{std::move(state), [&root, parties](gnutls_session_t session) { return check_applicant(session, root.get(), parties); }, parties, "that machine", false};
  return secure(std::move(socket), std::move(terms), stall_seconds);
}

}  // namespace syncropy

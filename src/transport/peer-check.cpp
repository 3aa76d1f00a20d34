#include "transport/peer-check.hpp"

#include <algorithm>

#include "util/escape.hpp"

namespace syncropy {
namespace {

struct Words {
  const char* ours;        // whose certificate the peer sees
  const char* our_config;  // where we say whom we believe
  const char* their_config;
};

Words words_of(Side side) {
  switch (side) {
    case Side::server: return {"this server's certificate", "the config", "the agent's policy"};
    case Side::agent: return {"this agent's certificate", "this agent's policy", "the server's config"};
    case Side::applicant: return {"this machine's certificate", "the enrolment of this machine", "the CA of the server"};
    case Side::enrolment: return {"the enrolment service's certificate", "this CA", "the enrolment of that machine"};
  }
  return {"our certificate", "our configuration", "its configuration"};
}

}  // namespace

Certificate peer_certificate(gnutls_session_t session) {
  unsigned count = 0;
  const gnutls_datum_t* chain = gnutls_certificate_get_peers(session, &count);
  gnutls_x509_crt_t raw = nullptr;
  if (chain == nullptr || count == 0 || gnutls_x509_crt_init(&raw) < 0) return {};
  Certificate certificate(raw);
  if (gnutls_x509_crt_import(raw, chain, GNUTLS_X509_FMT_DER) < 0) return {};
  return certificate;
}

PeerIdentity identity_of(gnutls_x509_crt_t certificate) {
  PeerIdentity identity;
  identity.fingerprint = digest_of(der_of(certificate));
  identity.serial = serial_of(certificate);
  identity.expires = gnutls_x509_crt_get_expiration_time(certificate);
  for (const std::string& name : names_of(certificate)) identity.names.push_back(escape(name));
  return identity;
}

Refusal untimely(gnutls_x509_crt_t certificate, const std::string& subject) {
  const bool early = validity_of(certificate) == Validity::not_yet;
  // TLS has one alert for both (RFC 8446, 6.2: "has expired or is not currently valid").
  return {Error(ExitStatus::refused, subject + " " + describe_validity(certificate), early ? "check the clocks of both machines" : "renew it there"), GNUTLS_A_CERTIFICATE_EXPIRED};
}

namespace {

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (text.size() > 300) return text + ", ...";
    text += (text.empty() ? "'" : ", '") + escape(name) + "'";
  }
  return text;
}

std::string files_of(const std::vector<std::string>& files) {
  std::string text;
  for (const std::string& file : files) text += (text.empty() ? "" : ", ") + escape(file);
  return text;
}

Refusal not_signed(unsigned status, const std::string& subject, const TlsCredentials::State& credentials, const Words& words) {
  const std::string ca = "the CA in " + escape(credentials.ca_file);
  if (status & GNUTLS_CERT_REVOKED) return {Error(ExitStatus::refused, subject + " is revoked", "give that machine a new one"), GNUTLS_A_CERTIFICATE_REVOKED};
  if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA))
    return {Error(ExitStatus::refused, subject + " is foreign: it is not signed by " + ca,
                  std::string("if this is the right machine, have it signed by that CA, or name a copy of it as 'sslpin' in ") + words.our_config),
            GNUTLS_A_UNKNOWN_CA};
  if (status & (GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE))
    return {Error(ExitStatus::refused, "whether " + subject + " is revoked cannot be told: the CA's list is out of date", "have the CA make a new one, and check this machine's clock"),
            GNUTLS_A_CERTIFICATE_UNKNOWN};
  if (status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED))
    return {Error(ExitStatus::refused, ca + ", which signed " + subject + ", " + (status & GNUTLS_CERT_EXPIRED ? "has expired" : "is not valid yet"), "renew the CA, or check this machine's clock"),
            GNUTLS_A_CERTIFICATE_EXPIRED};
  gnutls_datum_t text{};
  std::string why;
  if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0) {
    why = escape(std::string_view(reinterpret_cast<char*>(text.data), text.size));
    gnutls_free(text.data);
  }
  return {Error(ExitStatus::refused, subject + " is not in order (" + why + ")", "make that machine a new one"), GNUTLS_A_BAD_CERTIFICATE};
}

// Without a word on what it is for (extendedKeyUsage) a certificate is for both sides.
bool is_for_its_side(gnutls_x509_crt_t certificate, Side us) {
  return gnutls_x509_crt_check_key_purpose(certificate, connects(us) ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT, 0) != 0;
}

Refusal misused(const std::string& subject, Side us) {
  const bool of_an_agent = us == Side::server;
  return {Error(ExitStatus::refused, subject + " was not made for " + (of_an_agent ? "an agent" : "a server") + " (its extendedKeyUsage lacks " + (of_an_agent ? "serverAuth" : "clientAuth") + ")",
                std::string("give that machine one of its own kind; if it plays a part that it should not, find out who has its key")),
          GNUTLS_A_UNSUPPORTED_CERTIFICATE};
}

bool is_named(gnutls_x509_crt_t certificate, const std::vector<std::string>& names, Side us) {
  if (us == Side::server) return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return carries_name(certificate, name); });
  // Who may connect is a list of identities: a wildcard in a certificate is none of them.
  const std::vector<std::string> carried = names_of(certificate);
  return std::any_of(carried.begin(), carried.end(), [&](const std::string& name) {
    return name.find('*') == std::string::npos && std::any_of(names.begin(), names.end(), [&](const std::string& accepted) {
      return name.size() == accepted.size() && std::equal(name.begin(), name.end(), accepted.begin(), [](char a, char b) {
        auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
        return lower(a) == lower(b);
      });
    });
  });
}

Refusal misnamed(gnutls_x509_crt_t certificate, const std::string& subject, const std::vector<std::string>& names, const Words& words, Side us) {
  const std::vector<std::string> carried = names_of(certificate);
  const std::string has = carried.empty() ? "no name" : "the name " + list(carried);
  if (us == Side::server)
    return {Error(ExitStatus::refused, subject + " carries " + has + ", and not " + list(names),
                  "if this is the right machine, set 'sslidentity' to a name it carries, or have a certificate made that carries this one"),
            GNUTLS_A_ACCESS_DENIED};
  return {Error(ExitStatus::refused, subject + " carries " + has + ", which is not among the accepted " + (names.empty() ? "(none is)" : list(names)),
                std::string("if it may read this machine, add a name it carries to 'servers' in ") + words.our_config),
          GNUTLS_A_ACCESS_DENIED};
}

}  // namespace

PeerVerdict check_peer(gnutls_session_t session, const TlsCredentials::State& credentials, const std::vector<std::string>& names, const Parties& parties) {
  PeerVerdict verdict;
  const Words words = words_of(parties.us);
  const Certificate certificate = peer_certificate(session);
  if (!certificate) {
    verdict.refusal = Refusal{Error(ExitStatus::refused, parties.them + " presented no certificate that can be read", "give that machine a certificate"), GNUTLS_A_CERTIFICATE_REQUIRED};
    return verdict;
  }
  verdict.identity = identity_of(certificate.get());
  verdict.identity.pinned = std::find(credentials.pins.begin(), credentials.pins.end(), der_of(certificate.get())) != credentials.pins.end();

  const std::string subject = "the certificate " + describe(certificate.get()) + " of " + parties.them;
  if (!verdict.identity.pinned && credentials.ca_file.empty()) {
    verdict.refusal = Refusal{Error(ExitStatus::refused, subject + " is foreign: it is not the pinned one (" + files_of(credentials.pin_files) + ")",
                                    std::string("if this is the right machine, name a copy of its certificate as 'sslpin' in ") + words.our_config),
                              GNUTLS_A_UNKNOWN_CA};
    return verdict;
  }
  if (verdict.identity.pinned) {
    if (validity_of(certificate.get()) != Validity::valid) verdict.refusal = untimely(certificate.get(), subject);
    return verdict;
  }
  unsigned status = 0;
  if (const int code = gnutls_certificate_verify_peers2(session, &status); code < 0) {
    verdict.refusal = Refusal{Error(ExitStatus::refused, subject + " cannot be checked (" + gnutls_strerror(code) + ")", "make that machine a new one"), GNUTLS_A_BAD_CERTIFICATE};
  } else if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA)) {
    verdict.refusal = not_signed(status, subject, credentials, words);
  } else if (validity_of(certificate.get()) != Validity::valid) {
    verdict.refusal = untimely(certificate.get(), subject);
  } else if (status != 0) {
    verdict.refusal = not_signed(status, subject, credentials, words);
  } else if (!is_for_its_side(certificate.get(), parties.us)) {
    verdict.refusal = misused(subject, parties.us);
  } else if (!is_named(certificate.get(), names, parties.us)) {
    verdict.refusal = misnamed(certificate.get(), subject, names, words, parties.us);
  }
  return verdict;
}

Error error_from_alert(gnutls_alert_description_t alert, const Parties& parties) {
  const Words words = words_of(parties.us);
  const std::string theirs = words.their_config;
  std::string why, remedy;
  switch (alert) {
    case GNUTLS_A_UNKNOWN_CA:
      why = "it is neither pinned there nor signed by a CA known there";
      remedy = "set 'sslca' in " + theirs + " to the CA that signed it, or 'sslpin' to a copy of it";
      break;
    case GNUTLS_A_CERTIFICATE_EXPIRED:
      why = "by its clock it has expired or is not valid yet";
      remedy = "renew it, or check the clocks of both machines";
      break;
    case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
      why = "it was made for another part than it plays";
      remedy = parties.us == Side::server ? "a server's certificate needs the extendedKeyUsage clientAuth" : "an agent's certificate needs the extendedKeyUsage serverAuth";
      break;
    case GNUTLS_A_ACCESS_DENIED:
      why = "its name is not accepted there";
      remedy = parties.us == Side::server ? "add one of its names to 'servers' in " + theirs : "set 'sslidentity' in " + theirs + " to one of its names";
      break;
    case GNUTLS_A_CERTIFICATE_REQUIRED:
    case GNUTLS_A_SSL3_NO_CERTIFICATE:
      why = "it got none that it can use";
      remedy = "set 'sslcert' and 'sslkey' here to a certificate of RSA (2,048 bits or more), ECDSA or Ed25519";
      break;
    case GNUTLS_A_CERTIFICATE_REVOKED: why = "it is revoked"; remedy = "make a new one, or enrol this machine anew"; break;
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
      why = std::string("TLS alert '") + gnutls_alert_get_name(alert) + "'";
      remedy = "look into the other side's journal, which says what is wrong with it";
      break;
    case GNUTLS_A_PROTOCOL_VERSION:
    case GNUTLS_A_HANDSHAKE_FAILURE:
    case GNUTLS_A_INSUFFICIENT_SECURITY:
      return Error(ExitStatus::protocol, parties.them + " found no common ground with us in TLS (alert '" + gnutls_alert_get_name(alert) + "')",
                   "both sides must speak TLS 1.3: check that a Syncropy of a fitting version is there");
    default: {
      const char* name = gnutls_alert_get_name(alert);
      return Error(ExitStatus::protocol, parties.them + " broke the connection off with the TLS alert '" + (name == nullptr ? std::to_string(alert) : name) + "'", "look into its journal");
    }
  }
  return Error(ExitStatus::refused, parties.them + " refused " + words.ours + ": " + why, remedy);
}

}  // namespace syncropy

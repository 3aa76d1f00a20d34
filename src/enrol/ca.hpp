#pragma once
// What a CA does: make itself, promise a certificate (a token), keep the promise once, renew, revoke.

#include <chrono>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enrol/ca-folder.hpp"
#include "enrol/token.hpp"

namespace syncropy {

inline constexpr std::time_t certificate_life = 366 * 86'400;
inline constexpr std::time_t root_life = 3'653 * 86'400;
inline constexpr std::time_t clock_tolerance = 3'600;        // certificates begin an hour ago: clocks differ
inline constexpr std::time_t longest_token_life = 30 * 86'400;
inline constexpr unsigned certificates_a_day = 10;           // for one name, by renewal

// Less than a third of its life is left.
[[nodiscard]] bool is_due(std::time_t from, std::time_t to, std::time_t now);

// A key with its certificate, and what whoever holds it has to know of the CA. All in PEM.
struct Identity {
  std::string key, certificate;  // a new pair
  std::string root, revoked;     // of the CA; `revoked` may be empty where it is not known
  std::time_t expires = 0;       // the certificate
};

// A new CA in `folder`, and the first identity of its server, which is called `names`.
[[nodiscard]] Identity make_ca(const std::string& folder, const std::vector<std::string>& names, std::time_t now);

struct Invitation {
  Token token;
  std::time_t expires = 0;
  std::vector<std::string> servers;
  std::optional<std::time_t> certified;  // until when a certificate of that name is good already
};
// A token for one certificate that carries `names`. One that is open for names.front() loses its worth.
[[nodiscard]] Invitation invite(const CaFolder& ca, const std::vector<std::string>& names, std::chrono::seconds life, std::time_t now);

struct IssuedToAgent {
  IssuedEntry entry;
  std::string certificate;           // DER
  std::vector<std::string> servers;
  std::string revoked;               // which servers' certificates are revoked, in PEM: what an agent has to know
};
// Throws Error(refused): there is no such token, it has expired, it was used (which only who has it hears), the request is none or weak. With
// all of these the token stays what it was. `unknown` is set for the first: whoever tries that is made to wait.
[[nodiscard]] IssuedToAgent redeem(const CaFolder& ca, std::string_view secret, std::string_view request, std::time_t now, bool& unknown);
// For the agent whose certificate has that serial, with the names it has now. Throws Error(refused): it is not known, revoked, or has been
// renewed certificates_a_day times today.
[[nodiscard]] IssuedToAgent renew_agent(const CaFolder& ca, const std::string& serial, std::string_view request, std::time_t now);

// The certificates that are still valid of an agent of that name, or the one with that serial: revoked from `now` on. None where there are none.
struct Revocation {
  std::vector<IssuedEntry> entries;
  std::string revoked;  // the new list, in PEM
  bool token = false;   // an open token of that name has lost its worth
};
[[nodiscard]] Revocation revoke(const CaFolder& ca, const std::string& name_or_serial, std::time_t now);

// A new key and certificate of the server where the last one is due, or `force`; and a new root with the old key where that is due.
struct ServerRenewal {
  std::optional<Identity> identity;
  bool root = false;
  std::time_t expires = 0;  // the server's certificate, as it is now
};
[[nodiscard]] ServerRenewal renew_server(const CaFolder& ca, bool force, std::time_t now);

// Of the newest certificate of an agent of that name that is not revoked; none where there is none.
[[nodiscard]] const IssuedEntry* newest_of(const std::vector<IssuedEntry>& entries, std::string_view name);

}  // namespace syncropy

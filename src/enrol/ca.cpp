#include "enrol/ca.hpp"

#include <algorithm>

#include "model/dataset.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr std::time_t a_day = 86'400;
constexpr std::time_t remembered = 400 * a_day;  // for how long what has expired is still listed

// What expired long ago is nobody's any more.
void forget_old(std::vector<IssuedEntry>& entries, std::time_t now) {
  std::erase_if(entries, [&](const IssuedEntry& entry) { return entry.to + remembered < now; });
}

void forget_old(std::vector<TokenEntry>& entries, std::time_t now) {
  std::erase_if(entries, [&](const TokenEntry& entry) { return entry.expires + longest_token_life < now; });
}

Identity new_identity(const Authority& authority, const std::vector<std::string>& names, std::time_t now, std::vector<IssuedEntry>& entries) {
  const PrivateKey key;
  const IssuedCertificate issued = authority.issue(key, {names, Part::server, now - clock_tolerance, now + certificate_life});
  entries.push_back({issued.serial, Part::server, issued.from, issued.to, {}, names});
  Identity identity;
  identity.key = key.pem();
  identity.certificate = pem_of_certificate(issued.der);
  identity.root = authority.certificate_pem();
  identity.expires = issued.to;
  return identity;
}

IssuedToAgent issue_to_agent(const CaFolder& ca, std::vector<IssuedEntry>& entries, const std::vector<std::string>& names, std::string_view request, std::time_t now) {
  const RequestedKey key(request);
  const Authority authority = ca.authority();
  const IssuedCertificate issued = authority.issue(key, {names, Part::agent, now - clock_tolerance, now + certificate_life});
  forget_old(entries, now);
  entries.push_back({issued.serial, Part::agent, issued.from, issued.to, {}, names});
  ca.write_issued(entries);
  std::vector<std::pair<std::string, std::time_t>> revoked;
  for (const IssuedEntry& entry : entries)
    if (entry.part == Part::server && entry.revoked && entry.to > now) revoked.emplace_back(entry.serial, *entry.revoked);
  return {entries.back(), issued.der, ca.servers(), authority.revocation_list(revoked, now)};
}

[[noreturn]] void refuse(const std::string& why, std::string remedy) { throw Error(ExitStatus::refused, why, std::move(remedy)); }

}  // namespace

bool is_due(std::time_t from, std::time_t to, std::time_t now) { return to - now < (to - from) / 3; }

Identity make_ca(const std::string& folder, const std::vector<std::string>& names, std::time_t now) {
  const Authority authority("Syncropy CA of " + names.front(), now - a_day, now + root_life);
  CaFolder::make(folder, authority, names);
  const CaFolder ca(folder);
  std::vector<IssuedEntry> entries;
  Identity identity = new_identity(authority, names, now, entries);
  ca.write_issued(entries);
  identity.revoked = ca.write_revoked(authority, entries, now);
  return identity;
}

Invitation invite(const CaFolder& ca, const std::vector<std::string>& names, std::chrono::seconds life, std::time_t now) {
  std::vector<TokenEntry> tokens = ca.tokens();
  forget_old(tokens, now);
  std::erase_if(tokens, [&](const TokenEntry& token) { return !token.used && token.names.front() == names.front(); });
  const auto open = std::count_if(tokens.begin(), tokens.end(), [&](const TokenEntry& token) { return !token.used && token.expires > now; });
  if (static_cast<std::size_t>(open) >= limits::open_tokens) refuse(std::to_string(limits::open_tokens) + " tokens are open", "wait until some are used or have expired");
  Invitation invitation;
  invitation.token = new_token(ca.authority().key_id());
  invitation.expires = now + life.count();
  invitation.servers = ca.servers();
  if (const std::vector<IssuedEntry> entries = ca.issued(); const IssuedEntry* newest = newest_of(entries, names.front()))
    if (newest->to > now) invitation.certified = newest->to;
  tokens.push_back({digest_of_secret(invitation.token.secret_bytes()), invitation.expires, {}, names});
  ca.write_tokens(tokens);
  return invitation;
}

IssuedToAgent redeem(const CaFolder& ca, std::string_view secret, std::string_view request, std::time_t now, bool& unknown) {
  const Digest digest = digest_of_secret(secret);
  std::vector<TokenEntry> tokens = ca.tokens();
  TokenEntry* found = nullptr;
  for (TokenEntry& token : tokens)
    if (equal_in_constant_time(token.digest, digest)) found = &token;
  unknown = found == nullptr;
  if (unknown) refuse("the token is not known to this server", "have a new one made there: syncropy enroll NAME; it makes older ones of that name worthless");
  const std::string name = escape(found->names.front());
  if (found->used) refuse("the token for '" + name + "' was used already", "if that was not you, revoke what it was used for (syncropy ca revoke " + name + "); have a new one made: syncropy enroll " + name);
  if (found->expires <= now) refuse("the token for '" + name + "' expired on " + format_time(found->expires), "have a new one made on the server: syncropy enroll " + name);
  std::vector<IssuedEntry> entries = ca.issued();
  IssuedToAgent issued = issue_to_agent(ca, entries, found->names, request, now);
  found->used = issued.entry.serial;
  ca.write_tokens(tokens);
  return issued;
}

IssuedToAgent renew_agent(const CaFolder& ca, const std::string& serial, std::string_view request, std::time_t now) {
  std::vector<IssuedEntry> entries = ca.issued();
  const auto held = std::find_if(entries.begin(), entries.end(), [&](const IssuedEntry& entry) { return entry.serial == serial && entry.part == Part::agent; });
  if (held == entries.end()) refuse("the certificate with the serial " + escape(serial) + " is not among those that this CA keeps", "enrol the machine anew: syncropy enroll NAME");
  const std::vector<std::string> names = held->names;
  if (held->revoked) refuse("the certificate of '" + escape(names.front()) + "' was revoked on " + format_time(*held->revoked), "enrol the machine anew, if it may be backed up: syncropy enroll " + escape(names.front()));
  const auto today = std::count_if(entries.begin(), entries.end(), [&](const IssuedEntry& entry) {
    return entry.part == Part::agent && entry.names.front() == names.front() && entry.from + clock_tolerance > now - a_day;
  });
  if (today >= certificates_a_day) refuse("'" + escape(names.front()) + "' got " + std::to_string(today) + " certificates within a day", "find out what asks for them, and try again tomorrow");
  return issue_to_agent(ca, entries, names, request, now);
}

Revocation revoke(const CaFolder& ca, const std::string& name_or_serial, std::time_t now) {
  Revocation revocation;
  std::vector<IssuedEntry> entries = ca.issued();
  for (IssuedEntry& entry : entries) {
    const bool meant = entry.serial == name_or_serial || (entry.part == Part::agent && entry.names.front() == name_or_serial);
    if (!meant || entry.revoked || entry.to <= now) continue;
    entry.revoked = now;
    revocation.entries.push_back(entry);
  }
  std::vector<TokenEntry> tokens = ca.tokens();
  revocation.token = std::erase_if(tokens, [&](const TokenEntry& token) { return !token.used && token.expires > now && token.names.front() == name_or_serial; }) > 0;
  if (revocation.token) ca.write_tokens(tokens);
  if (!revocation.entries.empty()) ca.write_issued(entries);
  revocation.revoked = ca.write_revoked(ca.authority(), entries, now);
  return revocation;
}

ServerRenewal renew_server(const CaFolder& ca, bool force, std::time_t now) {
  ServerRenewal renewal;
  Authority authority = ca.authority();
  std::vector<IssuedEntry> entries = ca.issued();
  if (is_due(authority.from(), authority.to(), now)) {
    authority.renew(now - a_day, now + root_life);
    ca.write_root(authority);
    renewal.root = true;
  }
  const IssuedEntry* newest = nullptr;
  for (const IssuedEntry& entry : entries)
    if (entry.part == Part::server && !entry.revoked) newest = &entry;
  if (newest != nullptr) renewal.expires = newest->to;
  if (!force && !renewal.root && newest != nullptr && !is_due(newest->from, newest->to, now)) return renewal;
  forget_old(entries, now);
  renewal.identity = new_identity(authority, ca.servers(), now, entries);
  renewal.expires = renewal.identity->expires;
  ca.write_issued(entries);
  renewal.identity->revoked = ca.write_revoked(authority, entries, now);
  return renewal;
}

const IssuedEntry* newest_of(const std::vector<IssuedEntry>& entries, std::string_view name) {
  const IssuedEntry* newest = nullptr;
  for (const IssuedEntry& entry : entries)
    if (entry.part == Part::agent && !entry.revoked && std::find(entry.names.begin(), entry.names.end(), name) != entry.names.end()) newest = &entry;
  return newest;
}

}  // namespace syncropy

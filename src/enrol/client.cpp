#include "enrol/client.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <charconv>
#include <filesystem>

#include "transport/enrolment-tls.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "wire/enrol-messages.hpp"
#include "wire/greeting.hpp"

namespace syncropy {
namespace {

constexpr unsigned connect_seconds = 15, stall_seconds = 30;
constexpr std::size_t address_bytes = 1'000, pem_bytes = 1U << 20;

[[noreturn]] void no_address(std::string_view text) { throw Error(ExitStatus::usage, "'" + escape(text) + "' is not where a server can be", "write HOST or HOST:PORT, an IPv6 address in brackets"); }

bool is_there(const std::string& file) {
  struct stat st{};
  return ::lstat(file.c_str(), &st) == 0;
}

Socket connect_to_service(const ServiceAddress& service) {
  try {
    return connect_to(service.host, service.port, connect_seconds);
  } catch (const Error& error) {
    if (error.status() != ExitStatus::unavailable) throw;
    throw Error(error.status(), error.what(), "check the name, and that on the server 'systemctl enable --now syncropy-enroll.socket' was done and no firewall closes port " + std::to_string(service.port));
  }
}

// What the service says goes on as it was said: it knows what is to be done.
Issued ask(EnrolmentChannel& channel, MessageType type, std::string_view request, const std::string& where) {
  FrameReader in(*channel.secured.stream, std::chrono::seconds(2 * stall_seconds));
  FrameWriter out(*channel.secured.stream);
  try {
    greet(in, out, "syncropy-agent", false, "this machine");
    out.send(type, request);
    out.flush();
    Frame frame;
    if (!in.next(frame)) throw Error(ExitStatus::protocol, "it ended the connection instead of an answer", "look into its journal");
    if (frame.type == MessageType::error) {
      const ErrorMessage message = get_error(frame.payload);
      throw Error(message.status, escape(message.text), escape(message.remedy));
    }
    if (frame.type != MessageType::issued) throw Error(ExitStatus::protocol, "it answered something else than a certificate", "check that it is a Syncropy of a fitting version");
    return get_issued(frame.payload);
  } catch (const Error& error) {
    throw Error(error.status(), "the enrolment service at " + where + ": " + error.what(), error.remedy());
  }
}

struct Certified {
  CertificateFacts facts;
  Identity identity;
};

Certified certify(const PrivateKey& key, const EnrolmentChannel& channel, const Issued& issued) {
  Certified certified;
  certified.facts = check_issued(issued.certificate, channel.authority, key.id());
  certified.identity.key = key.pem();
  certified.identity.certificate = pem_of_certificate(issued.certificate);
  certified.identity.root = pem_of_certificate(channel.authority);
  certified.identity.revoked = issued.revoked;
  certified.identity.expires = certified.facts.to;
  for (const std::string& server : issued.servers)
    if (!is_certificate_name(server)) throw Error(ExitStatus::protocol, "the enrolment service names a server '" + escape(server) + "', which cannot be", "look into its journal");
  return certified;
}

// Names in it are certificate names, and paths are quoted as YAML's double-quoted scalars want it.
std::string yaml_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string policy_text(const IdentityPlace& place, const std::string& service, const std::vector<std::string>& servers) {
  std::string names;
  for (const std::string& server : servers) names += (names.empty() ? "" : ", ") + yaml_quoted(server);
  return "# Made by 'syncropy-agent enroll " + service + "'. syncropy-agent.yaml(5) explains every key.\n"
         "\n"
         "# Who this machine is (key and certificate), the CA that it believes, and who may connect: this server and nobody else.\n"
         "sslpem: " + yaml_quoted(place.setting()) + "\n"
         "sslca: " + yaml_quoted(place.root_file()) + "\n"
         "servers: [" + names + "]\n"
         "\n"
         "# What may be read, and what may not: nobody needs a copy of the key, for a new one is made with a new token.\n"
         "read: [/]\n"
         "deny: [" + yaml_quoted(place.key_file) + (place.credential ? ", " + yaml_quoted(place.encrypted_file()) : "") + "]\n"
         "\n"
         "# Whether the server may restore files here, and where; it wants syncropy-restore.socket too.\n"
         "# restore: accept\n"
         "# restore_to: [/]\n";
}

std::string service_file(const IdentityPlace& place) { return place.folder + "/enrolment"; }

ServiceAddress read_service(const IdentityPlace& place) {
  const std::string file = service_file(place);
  if (!is_there(file)) throw Error(ExitStatus::no_input, "this machine was never enrolled: there is no " + escape(file), "on the server: syncropy enroll NAME; a certificate that was made by hand is renewed by hand");
  std::string text = read_file(AT_FDCWD, file, address_bytes, ExitStatus::config);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return parse_service_address(text);
}

}  // namespace

ServiceAddress parse_service_address(std::string_view text) {
  ServiceAddress address;
  std::string_view host = text, port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) no_address(text);
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && !port.starts_with(':')) no_address(text);
    if (!port.empty()) port.remove_prefix(1);
    if (port.empty() && text.ends_with(':')) no_address(text);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) no_address(text);
  }
  // The same letters as names in certificates: it stands in a file, and in a comment of the policy.
  if (!is_certificate_name(host)) no_address(text);
  address.host = host;
  if (!port.empty()) {
    const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (code != std::errc() || end != port.data() + port.size() || address.port == 0) no_address(text);
  }
  return address;
}

std::string format_service_address(const ServiceAddress& address) {
  const std::string host = address.host.find(':') == std::string::npos ? address.host : "[" + address.host + "]";
  return address.port == ServiceAddress{}.port ? host : host + ":" + std::to_string(address.port);
}

Enrolled enrol_machine(const EnrolmentTerms& terms) {
  const std::string where = format_service_address(terms.service);
  for (const std::string& file : {terms.place.kept_in(), terms.policy})
    if (!terms.replace && !file.empty() && is_there(file))
      throw Error(ExitStatus::conflict, "there is " + escape(file) + " already", "--force replaces key, certificates and policy, and keeps the old ones beside them as NAME.old");
  prepare_place(terms.place);
  if (!terms.policy.empty()) prepare_file(terms.policy);

  const PrivateKey key;
  EnrolmentChannel channel = connect_to_enrolment(connect_to_service(terms.service), std::span<const std::uint8_t, 16>(terms.token.authority), stall_seconds);
  ByteWriter request;
  put(request, EnrolRequest{std::string(terms.token.secret_bytes()), key.request()});
  const Issued issued = ask(channel, MessageType::enrol, request.view(), where);
  Certified certified = certify(key, channel, issued);

  if (!terms.policy.empty()) set_aside(terms.policy);
  write_identity(terms.place, certified.identity, true);
  wipe(certified.identity.key);
  write_file(service_file(terms.place), where + "\n");
  if (!terms.policy.empty()) write_file(terms.policy, policy_text(terms.place, where, issued.servers));
  return {certified.facts.names, issued.servers, certified.facts.serial, certified.facts.to};
}

Renewed renew_machine(const IdentityPlace& place, bool force, std::time_t now) {
  const ServiceAddress service = read_service(place);
  const std::string where = format_service_address(service);
  const CertificateFacts held = facts_of_certificate(der_of_certificate(read_file(AT_FDCWD, place.certificate_file(), pem_bytes, ExitStatus::config), place.certificate_file()));
  if (!force && !is_due(held.from, held.to, now)) return {false, held.to, where, held.serial};
  prepare_place(place);
  const PrivateKey key;
  TlsFiles own;
  own.certificate = own.key = place.readable();
  own.ca = place.root_file();
  EnrolmentChannel channel = connect_to_enrolment(connect_to_service(service), own, stall_seconds);
  ByteWriter request;
  put(request, RenewalRequest{key.request()});
  Certified certified = certify(key, channel, ask(channel, MessageType::renew, request.view(), where));
  write_identity(place, certified.identity, false);
  wipe(certified.identity.key);
  return {true, certified.facts.to, where, certified.facts.serial};
}

}  // namespace syncropy

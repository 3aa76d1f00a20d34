// syncropy-agent(8): serves backup requests, activated by systemd's socket or listening by itself as the classic program did.

#include <CLI/CLI.hpp>

#include <unistd.h>

#include "agent/agent.hpp"
#include "agent/session.hpp"
#include "cli/exit.hpp"
#include "config/policy.hpp"
#include "config/settings.hpp"
#include "restore/session.hpp"
#include "sd/journal.hpp"
#include "sd/service.hpp"
#include "util/version.hpp"

namespace syncropy {
namespace {

// A server whose restore is refused hears why.
void serve_restores(SecuredStream& secured, const AgentPolicy& policy, const Fd& root) {
  if (!policy.restore) {
    const Error refusal(ExitStatus::refused, "the agent's policy accepts no restores",
                        "write 'restore: accept' into " + (policy.file.empty() ? "a policy" : policy.file) + " on the client, and 'restore_to' with the folders that may be written");
    refuse_session(secured, refusal);
    throw refusal;
  }
  serve_restore(*secured.stream, {policy.restore_to, policy.deny}, root);
}

int serve_requests(int argc, char** argv) {
  const std::string default_policy = config_folder() + "/agent.yaml";
  CLI::App app("Serves backup requests of Syncropy servers: lists and reads files as its policy allows, changes nothing.", "syncropy-agent");
  app.footer("Without -p it serves the sockets that systemd (syncropy-agent.socket) or systemd-socket-activate hands it.\n"
             "Without a policy file, -p serves with the certificate named here, which is also the one a server must show (the\n"
             "classic set-up: the same pair on both sides); without -S it serves loopback alone, which every local user can reach.");
  unsigned short port = 0;
  std::string address, policy_file, pem;
  AgentPolicy line;
  bool ssl = false, restore = false;
  app.set_version_flag("--version", std::string("syncropy-agent ") + version);
  auto* port_option = app.add_option("-p,--port", port, "listen on this TCP port")->type_name("PORT")->check(CLI::Range(1, 65535));
  app.add_option("-l,--listen", address, "listen on this address only, or on a unix socket's absolute path")->type_name("ADDRESS");
  app.add_flag("-S,--ssl", ssl, "use TLS");
  app.add_option("--sslcert", line.ssl_certificate, "own certificate, PEM")->type_name("FILE");
  app.add_option("--sslkey", line.ssl_key, "its key, PEM")->type_name("FILE");
  app.add_option("--sslpem", pem, "certificate and key in one file, PEM")->type_name("FILE");
  app.add_option("--sslpass", line.ssl_password, "password of an encrypted key (better: in the policy, as credential:NAME)")->type_name("PASSWORD");
  app.add_option("--policy", policy_file, "policy file (default: " + default_policy + " where it exists)")->type_name("FILE");
  app.add_flag("--restore", restore, "be a restore worker instead: write what a server sends, where the policy says 'restore: accept'");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitStatus::usage);
  }
  open_log("syncropy-agent", Priority::info);

  PassedSockets passed = take_sockets();
  std::vector<Fd> listeners = std::move(passed.listeners);
  AgentSetup setup;
  setup.connection = std::move(passed.connection);
  const bool named_tls = ssl || !pem.empty() || !line.ssl_certificate.empty() || !line.ssl_key.empty();
  if (!policy_file.empty() || (!named_tls && ::access(default_policy.c_str(), F_OK) == 0)) {
    setup.policy = load_agent_policy(policy_file.empty() ? default_policy : policy_file);
  } else if (port_option->count() == 0 && address.empty()) {
    throw Error(ExitStatus::no_input, "there is no policy file " + default_policy, "write one (syncropy-agent.yaml(5)), name another with --policy, or listen with -p PORT");
  } else {
    setup.policy.plain = PlainPolicy::loopback;
  }
  if (named_tls) {
    setup.policy.plain = PlainPolicy::none;
    setup.policy.ssl_certificate = !line.ssl_certificate.empty() ? line.ssl_certificate : pem;
    setup.policy.ssl_key = !line.ssl_key.empty() ? line.ssl_key : !pem.empty() ? pem : line.ssl_certificate;
    setup.policy.ssl_password = line.ssl_password;
    if (setup.policy.ssl_certificate.empty()) throw Error(ExitStatus::usage, "TLS is asked for without a certificate", "add --sslcert FILE and --sslkey FILE, or --sslpem FILE");
    if (setup.policy.ssl_ca.empty() && setup.policy.pins.empty()) setup.policy.pins = {setup.policy.ssl_certificate};
  }
  setup.serve_connection = restore ? serve_restores : serve_session;
  if (!setup.policy.ssl_certificate.empty())
    setup.tls.emplace(TlsFiles{setup.policy.ssl_certificate, setup.policy.ssl_key, setup.policy.ssl_password, setup.policy.ssl_ca, setup.policy.pins});
  if (setup.connection) {
    // Accept=yes: the service manager listens.
    if (!restore) throw Error(ExitStatus::usage, "the service manager handed over a connection, not a socket to listen on", "use Accept=no in the socket unit");
  } else if (listeners.empty()) {
    if (port_option->count() == 0 && address.empty()) throw Error(ExitStatus::usage, "there is nothing to listen on", "start syncropy-agent.socket, or add -p PORT");
    if (port_option->count() == 0 && !address.starts_with('/')) throw Error(ExitStatus::usage, "no port is named", "add -p PORT");
    // Plain connections of other machines are refused anyway: then the port need not be open to them.
    if (address.empty() && !setup.tls && setup.policy.plain != PlainPolicy::any) address = "localhost";
    listeners = listen_on(address, port);
    log(Priority::info, "listening on " + (address.empty() ? "all addresses" : address) + (address.starts_with('/') ? "" : " port " + std::to_string(port)) + (setup.tls ? "" : ", without TLS"));
  } else {
    setup.exit_when_idle = true;
  }
  serve(std::move(listeners), setup);
  return 0;
}

}  // namespace
}  // namespace syncropy

int main(int argc, char** argv) {
  syncropy::raise_open_files();
  return syncropy::end_with("syncropy-agent", [&] { return syncropy::serve_requests(argc, argv); });
}

// syncropy-agent(8): serves backup requests, activated by systemd's socket or listening by itself as the classic program did; with --restore a
// restore worker, with --hook a hook worker. `enroll` and `renew` get its certificate (enroll-agent.cpp).

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "agent/agent.hpp"
#include "agent/hook.hpp"
#include "agent/session.hpp"
#include "cli/enroll-agent.hpp"
#include "cli/exit.hpp"
#include "cli/parse.hpp"
#include "config/policy.hpp"
#include "config/settings.hpp"
#include "restore/session.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "sd/service.hpp"
#include "util/escape.hpp"
#include "util/version.hpp"

namespace syncropy {
namespace {

struct Arguments {
  unsigned short port = 0;
  bool names_port = false;
  std::string address, policy_file, certificate, key, pem, password;
  std::string hook_user = "syncropy-agent";
  bool ssl = false, restore = false, hook = false, check = false;
  [[nodiscard]] bool names_tls() const { return ssl || !pem.empty() || !certificate.empty() || !key.empty(); }
  [[nodiscard]] bool names_listener() const { return names_port || !address.empty(); }
};

std::string default_policy() { return config_folder() + "/agent.yaml"; }

// The status to end with when the command line says all there is to do, or is wrong.
std::optional<int> parse(int argc, char** argv, Arguments& arguments) {
  CLI::App app("Serves backup requests of Syncropy servers: lists and reads files as its policy allows, changes nothing.", "syncropy-agent");
  app.footer("Without -p it serves the sockets that systemd (syncropy-agent.socket) or systemd-socket-activate hands it.\n"
             "Without a policy file, -p serves with the certificate named here, which is also the one a server must show (the\n"
             "classic set-up: the same pair on both sides); without -S it serves loopback alone, which every local user can reach.\n"
             "'syncropy-agent enroll SERVER TOKEN' gets a certificate and writes a policy, 'syncropy-agent renew' renews it; --help of each says more.");
  app.set_version_flag("--version", std::string("syncropy-agent ") + version);
  auto* port = app.add_option("-p,--port", arguments.port, "listen on this TCP port")->type_name("PORT")->check(CLI::Range(1, 65535));
  app.add_option("-l,--listen", arguments.address, "listen on this address only, or on a unix socket's absolute path")->type_name("ADDRESS");
  app.add_flag("-S,--ssl", arguments.ssl, "use TLS");
  app.add_option("--sslcert", arguments.certificate, "own certificate, PEM")->type_name("FILE");
  app.add_option("--sslkey", arguments.key, "its key, PEM")->type_name("FILE");
  app.add_option("--sslpem", arguments.pem, "certificate and key in one file, PEM")->type_name("FILE");
  app.add_option("--sslpass", arguments.password, "password of an encrypted key (better: in the policy, as credential:NAME)")->type_name("PASSWORD");
  app.add_option("--policy", arguments.policy_file, "policy file (default: " + default_policy() + " where it exists)")->type_name("FILE");
  auto* restore = app.add_flag("--restore", arguments.restore, "be a restore worker instead: write what a server sends, where the policy says 'restore: accept'");
  auto* hook = app.add_flag("--hook", arguments.hook, "be a hook worker instead: run one program of the hooks folder, where the policy says 'commands_as: root'");
  app.add_option("--hook-user", arguments.hook_user, "who may ask a hook worker, besides root (default: syncropy-agent)")->type_name("USER")->needs(hook);
  app.add_flag("--check", arguments.check, "read policy and certificates, say what is wrong with them, and end")->excludes(hook);
  restore->excludes(hook);
  if (const std::optional<int> ended = parse_arguments(app, "syncropy-agent", argc, argv)) return ended;
  arguments.names_port = port->count() > 0;
  return std::nullopt;
}

// What the command line and the policy file come to, read anew each time.
std::shared_ptr<const AgentTerms> load_terms(const Arguments& arguments) {
  auto terms = std::make_shared<AgentTerms>();
  AgentPolicy& policy = terms->policy;
  const std::string usual = default_policy();
  if (!arguments.policy_file.empty() || (!arguments.names_tls() && ::access(usual.c_str(), F_OK) == 0)) {
    policy = load_agent_policy(arguments.policy_file.empty() ? usual : arguments.policy_file);
  } else if (!arguments.names_listener()) {
    throw Error(ExitStatus::no_input, "there is no policy file " + usual, "write one (syncropy-agent.yaml(5)), name another with --policy, or listen with -p PORT");
  } else {
    policy.plain = PlainPolicy::loopback;
  }
  if (arguments.names_tls()) {
    policy.plain = PlainPolicy::none;
    policy.ssl_certificate = !arguments.certificate.empty() ? arguments.certificate : arguments.pem;
    policy.ssl_key = !arguments.key.empty() ? arguments.key : !arguments.pem.empty() ? arguments.pem : arguments.certificate;
    policy.ssl_password = arguments.password;
    if (policy.ssl_certificate.empty()) throw Error(ExitStatus::usage, "TLS is asked for without a certificate", "add --sslcert FILE and --sslkey FILE, or --sslpem FILE");
    if (policy.ssl_ca.empty() && policy.pins.empty()) policy.pins = {policy.ssl_certificate};
  }
  if (!policy.ssl_certificate.empty()) terms->tls.emplace(TlsFiles{policy.ssl_certificate, policy.ssl_key, policy.ssl_password, policy.ssl_ca, policy.pins, policy.ssl_revoked});
  const char* handed = std::getenv("CREDENTIALS_DIRECTORY");
  auto is_handed = [&](const std::string& file) { return handed != nullptr && file.starts_with(std::string(handed) + "/"); };
  for (const std::string& file : {policy.ssl_certificate, policy.ssl_key, policy.ssl_ca, policy.ssl_revoked}) terms->handed_over |= is_handed(file);
  terms->handed_over |= std::any_of(policy.pins.begin(), policy.pins.end(), is_handed);
  return terms;
}

// A server whose restore is refused hears why.
void serve_restores(SecuredStream& secured, const AgentPolicy& policy, const Fd& root, Activity& activity, const Event&) {
  if (!policy.restore) {
    const Error refusal(ExitStatus::refused, "the agent's policy accepts no restores",
                        "write 'restore: accept' into " + (policy.file.empty() ? "a policy" : policy.file) + " on the client, and 'restore_to' with the folders that may be written");
    refuse_session(secured, refusal);
    throw refusal;
  }
  activity.doing = "restoring";
  serve_restore(*secured.stream, {policy.restore_to, policy.deny}, root);
}

std::vector<Fd> listen_by_itself(const Arguments& arguments, const AgentTerms& terms) {
  if (!arguments.names_listener()) throw Error(ExitStatus::usage, "there is nothing to listen on", "start syncropy-agent.socket, or add -p PORT");
  if (!arguments.names_port && !arguments.address.starts_with('/')) throw Error(ExitStatus::usage, "no port is named", "add -p PORT");
  // Plain connections of other machines are refused anyway: then the port need not be open to them.
  const bool loopback_only = arguments.address.empty() && !terms.tls && terms.policy.plain != PlainPolicy::any;
  const std::string address = loopback_only ? "localhost" : arguments.address;
  std::vector<Fd> listeners = listen_on(address, arguments.port);
  log(Priority::info, "listening on " + (address.empty() ? "all addresses" : address) + (address.starts_with('/') ? "" : " port " + std::to_string(arguments.port)) + (terms.tls ? "" : ", without TLS"));
  return listeners;
}

int serve_requests(const Arguments& arguments) {
  PassedSockets passed = take_sockets();
  AgentSetup setup;
  try {
    setup.terms = load_terms(arguments);
  } catch (const Error& error) {
    // A check is what a reload begins with.
    const int status = report_failure("syncropy-agent", error, arguments.check ? message_id::reload_refused : message_id::not_started);
    turn_away(passed.listeners);
    return status;
  }
  if (arguments.check) return 0;
  setup.reload = [&] { return load_terms(arguments); };
  setup.serve_connection = arguments.restore ? ServeConnection(serve_restores) : ServeConnection(serve_session);
  setup.connection = std::move(passed.connection);
  std::vector<Fd> listeners = std::move(passed.listeners);
  // Accept=yes: the service manager listens.
  if (setup.connection && !arguments.restore)
    throw Error(ExitStatus::usage, "the service manager handed over a connection, not a socket to listen on", "use Accept=no in the socket unit");
  setup.exit_when_idle = !setup.connection && !listeners.empty();
  if (!setup.connection && listeners.empty()) listeners = listen_by_itself(arguments, *setup.terms);
  serve(std::move(listeners), setup);
  return 0;
}

uid_t user_id(const std::string& name) {
  if (const passwd* user = ::getpwnam(name.c_str())) return user->pw_uid;
  throw Error(ExitStatus::config, "there is no user '" + escape(name) + "'", "systemd-sysusers makes the agent's user; --hook-user names another");
}

int serve_one_hook(const Arguments& arguments) {
  PassedSockets passed = take_sockets();
  if (!passed.connection) throw Error(ExitStatus::usage, "a hook worker is handed a connection by the service manager, and there is none", "start syncropy-hook.socket");
  try {
    const uid_t asker = user_id(arguments.hook_user);
    serve_hook(adopt_connection(std::move(passed.connection)), [&] { return load_agent_policy(arguments.policy_file.empty() ? default_policy() : arguments.policy_file, PolicyUse::hooks); }, asker);
    return 0;
  } catch (const Error& error) {
    switch (error.status()) {
      case ExitStatus::refused: return report_failure("syncropy-agent", error, message_id::hook_refused);
      case ExitStatus::config:
      case ExitStatus::no_input: return report_failure("syncropy-agent", error, message_id::not_started);
      default: throw;
    }
  }
}

int run(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "enroll") return enroll_agent(argc - 1, argv + 1);
  if (argc > 1 && std::string_view(argv[1]) == "renew") return renew_agent_certificate(argc - 1, argv + 1);
  Arguments arguments;
  if (const std::optional<int> status = parse(argc, argv, arguments)) return *status;
  open_log("syncropy-agent", Priority::info);
  if (arguments.hook) return serve_one_hook(arguments);
  raise_open_files();
  return serve_requests(arguments);
}

}  // namespace
}  // namespace syncropy

int main(int argc, char** argv) {
  return syncropy::end_with("syncropy-agent", [&] {
    syncropy::tell_crashes_of("syncropy-agent", "the runs under way fail, and the next connection starts it anew; please report it");
    return syncropy::run(argc, argv);
  });
}

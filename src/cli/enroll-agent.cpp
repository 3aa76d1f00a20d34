#include "cli/enroll-agent.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "cli/exit.hpp"
#include "cli/parse.hpp"
#include "config/settings.hpp"
#include "enrol/client.hpp"
#include "model/dataset.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "util/acting-as.hpp"
#include "util/escape.hpp"
#include "util/spawn.hpp"

namespace syncropy {
namespace {

constexpr std::size_t typed_token_bytes = 1'000;

struct Place {
  std::string keys, owner;
  void add_to(CLI::App& app) {
    auto* folder = app.add_option("--keys", keys, "keep key and certificates in this folder, for an agent without systemd (default: /etc/credstore and /etc/syncropy/keys)")->type_name("FOLDER");
    app.add_option("--owner", owner, "whose the key is, with --keys")->type_name("USER")->needs(folder);
  }
  [[nodiscard]] IdentityPlace place() const {
    if (keys.empty()) return system_place("agent");
    std::optional<FileOwner> given;
    if (!owner.empty()) given = FileOwner{account_of(owner).user, account_of(owner).group};
    return place_in(keys, "agent", given);
  }
};

std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  // The verb's own name is argv[0] here.
  const std::string program = std::string("syncropy-agent ") + argv[0];
  if (const std::optional<int> ended = parse_arguments(app, program.c_str(), argc, argv)) return ended;
  open_log("syncropy-agent", Priority::info);
  return std::nullopt;
}

// From standard input for "-": a line, asked for where a person sits there.
Token read_token(const std::string& given) {
  if (given != "-") return parse_token(given);
  if (::isatty(STDIN_FILENO)) fmt::print(stderr, "token: ");
  std::string line;
  for (char c = 0; line.size() < typed_token_bytes && ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
  return parse_token(line);
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + escape(name);
  return text;
}

// One that runs, for its policy says 'idle_exit: 0' or because it serves: it takes the new pair as soon as it holds no connection.
void tell_agent() {
  if (::access("/run/systemd/system", F_OK) != 0) return;
  if (!run_to_success({"systemctl", "--quiet", "try-reload-or-restart", "syncropy-agent.service"}))
    log(Priority::warning, "an agent that runs goes on with the old certificate, for it could not be told of the new one: see why with 'syncropy-agent --check', then 'systemctl reload syncropy-agent.service'");
}

}  // namespace

int enroll_agent(int argc, char** argv) {
  CLI::App app("Gets this machine a certificate of a Syncropy server's CA, and writes a policy that lets that server back it up. The key is made here and stays here.", "syncropy-agent enroll");
  std::string server, typed;
  EnrolmentTerms terms;
  Place place;
  bool keep_policy = false;
  terms.policy = config_folder() + "/agent.yaml";
  app.add_option("SERVER", server, "HOST or HOST:PORT of the server's enrolment service")->required();
  app.add_option("TOKEN", typed, "what 'syncropy enroll' printed on the server; - reads it from standard input")->required();
  app.add_flag("--force", terms.replace, "replace key, certificates and policy that are there; they are kept beside, as NAME.old");
  auto* policy = app.add_option("--policy", terms.policy, "the policy to write (default: " + terms.policy + ")")->type_name("FILE");
  app.add_flag("--keep-policy", keep_policy, "write no policy: the one there is good")->excludes(policy);
  place.add_to(app);
  if (const std::optional<int> status = parse(app, argc, argv)) return *status;
  // A token is good once, but until then nobody else need read it in the list of processes.
  for (int i = 1; i < argc; ++i)
    if (typed == argv[i] && typed != "-") std::memset(argv[i], '*', std::strlen(argv[i]));

  terms.service = parse_service_address(server);
  terms.token = read_token(typed);
  terms.place = place.place();
  if (keep_policy) terms.policy.clear();
  const Enrolled enrolled = enrol_machine(terms);
  fmt::print("enrolled as {}, until {} (renewed before that by syncropy-renew.timer)\n", listed(enrolled.names), format_time(enrolled.expires));
  fmt::print("{:<14}{}\n{:<14}{}, {}\n", "key", terms.place.kept_in(), "certificates", terms.place.certificate_file(), terms.place.root_file());
  if (terms.policy.empty()) fmt::print("policy        as it was; it has to say: sslpem: {}, sslca: {}, servers: [{}]\n", terms.place.setting(), terms.place.root_file(), listed(enrolled.servers));
  else fmt::print("policy        {}: admits {} and nobody else\n", terms.policy, listed(enrolled.servers));
  if (!place.keys.empty()) return 0;
  fmt::print("next          systemctl enable --now syncropy-agent.socket syncropy-renew.timer\n");
  return 0;
}

int renew_agent_certificate(int argc, char** argv) {
  CLI::App app("Renews this machine's certificate, when a third of its life is left, at the server that it was enrolled at.", "syncropy-agent renew");
  Place place;
  bool force = false;
  app.add_flag("--force", force, "however long the one there is good for");
  place.add_to(app);
  if (const std::optional<int> status = parse(app, argc, argv)) return *status;
  try {
    const Renewed renewed = renew_machine(place.place(), force, std::time(nullptr));
    if (!renewed.renewed) {
      log(Priority::info, "the certificate is good until " + format_time(renewed.expires) + ": it is not due");
      return 0;
    }
    log(Priority::notice, "the certificate is renewed by " + escape(renewed.service) + ": " + renewed.serial + ", until " + format_time(renewed.expires),
        {{"SYNCROPY_SERIAL", renewed.serial}}, message_id::certificate_renewed);
    if (place.keys.empty()) tell_agent();
    return 0;
  } catch (const Error& error) {
    return report_failure("syncropy-agent", error, message_id::certificate_not_renewed);
  }
}

}  // namespace syncropy

#include "config/policy.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/document.hpp"
#include "config/keys.hpp"
#include "config/settings.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"
#include "util/ownership.hpp"

namespace syncropy {
namespace {

template <typename Choice>
Choice choice_of(const Keys& keys, std::string_view key, std::initializer_list<std::pair<std::string_view, Choice>> choices, Choice fallback) {
  const std::optional<std::string> value = keys.text(key);
  if (!value) return fallback;
  std::string all;
  for (const auto& [word, choice] : choices) {
    if (*value == word) return choice;
    all += (all.empty() ? "" : ", ") + std::string(word);
  }
  throw keys.error(key, "'" + std::string(key) + "' is not '" + escape(*value) + "'", "write one of " + all);
}

void read_tls(const Keys& keys, AgentPolicy& policy) {
  const OwnCertificate own = own_certificate(keys);
  policy.ssl_certificate = own.certificate;
  policy.ssl_key = own.key;
  policy.ssl_password = keys.secret("sslpass");
  policy.ssl_ca = keys.file_or_credential("sslca");
  policy.ssl_revoked = revocation_list(keys);
  policy.servers = keys.list("servers");
  policy.pins = keys.files_or_credentials("sslpin");
  if (own.certificate.empty()) {
    for (const char* key : {"sslkey", "sslca", "sslcrl", "sslpin", "servers"})
      if (!keys.list(key).empty()) throw keys.error(key, std::string("'") + key + "' is for TLS, and there is no certificate for it", "add 'sslcert' and 'sslkey' (or 'sslpem', with both in one file)");
    return;
  }
  if (policy.ssl_ca.empty() && !policy.servers.empty())
    throw keys.error("servers", "'servers' names who may connect among those that a CA signed, and there is no 'sslca'", "add 'sslca', or pin the servers' certificates with 'sslpin' instead");
  if (policy.ssl_ca.empty() && policy.pins.empty()) policy.pins = {policy.ssl_certificate};
  if (policy.servers.empty() && policy.pins.empty()) throw keys.error("sslca", "with 'sslca' alone no server may connect", "add 'servers' with the names in the certificates of those that may");
}

}  // namespace

AgentPolicy parse_agent_policy(std::string_view text, const std::string& file, PolicyUse use) {
  if (text.size() > limits::config_bytes) throw Error(ExitStatus::config, escape(file) + " is larger than " + std::to_string(limits::config_bytes) + " bytes", "shorten it");
  const std::string folder = folder_of(file);
  const ConfigNode top = parse_yaml(text, file);
  const Keys keys(file, folder, "the policy", top, 1);
  keys.allow({"sslcert", "sslkey", "sslpem", "sslpass", "sslca", "sslcrl", "sslpin", "servers", "plain", "read", "deny", "restore", "restore_to", "commands", "commands_as", "commands_if_cut", "hooks_folder", "connections", "idle_exit", "stall_timeout"});
  AgentPolicy policy;
  policy.file = file;
  if (use == PolicyUse::connections) read_tls(keys, policy);
  policy.plain = choice_of<PlainPolicy>(keys, "plain", {{"none", PlainPolicy::none}, {"loopback", PlainPolicy::loopback}, {"any", PlainPolicy::any}}, PlainPolicy::none);
  // A list that is there and empty allows nothing: it was meant to say so.
  if (top.find("read") != nullptr) policy.read = keys.paths("read");
  for (std::string& path : keys.paths("deny")) policy.deny.push_back(std::move(path));
  policy.deny = outermost(std::move(policy.deny));
  policy.restore = choice_of<bool>(keys, "restore", {{"refuse", false}, {"accept", true}}, false);
  if (top.find("restore_to") != nullptr) policy.restore_to = keys.paths("restore_to");
  policy.commands = choice_of<CommandPolicy>(keys, "commands", {{"none", CommandPolicy::none}, {"named", CommandPolicy::named}, {"any", CommandPolicy::any}}, CommandPolicy::named);
  policy.commands_as = choice_of<CommandUser>(keys, "commands_as", {{"agent", CommandUser::agent}, {"root", CommandUser::root}}, CommandUser::agent);
  if (policy.commands_as == CommandUser::root && policy.commands == CommandPolicy::any)
    throw keys.error("commands_as", "'commands_as: root' with 'commands: any' would give every server a root shell", "write 'commands: named', and put programs into the hooks folder");
  policy.commands_if_cut = choice_of<CutPolicy>(keys, "commands_if_cut", {{"end", CutPolicy::end}, {"finish", CutPolicy::finish}}, CutPolicy::end);
  policy.hooks_folder = keys.file("hooks_folder");
  if (policy.hooks_folder.empty()) policy.hooks_folder = config_folder() + "/hooks.d";
  policy.connections = static_cast<unsigned>(keys.number_or("connections", policy.connections, 1, 1'024));
  policy.idle_exit = static_cast<unsigned>(keys.number_or("idle_exit", policy.idle_exit, 0, 86'400));
  policy.stall_timeout = static_cast<unsigned>(keys.number_or("stall_timeout", policy.stall_timeout, 1, 86'400));
  return policy;
}

AgentPolicy load_agent_policy(const std::string& file, PolicyUse use) {
  const std::string real = resolved_path(file);
  // Looked at before it is opened, and opened where it really is: whoever could swap it in between could write one of these folders.
  const std::string above = real.empty() ? "" : changeable_above(real, ::geteuid());
  if (!above.empty()) throw Error(ExitStatus::refused, "others than root may write " + escape(above) + ", which the policy " + escape(file) + " is in", "chown root " + escape(above) + " && chmod go-w " + escape(above));
  const Fd fd = open_config(real.empty() ? file : real, "syncropy-agent.yaml(5)");
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) throw_errno(ExitStatus::config, "look at", file);
  if (!only_owner_writes(st, ::geteuid()))
    throw Error(ExitStatus::refused, "others than root may write the policy " + escape(file), "chown root " + escape(file) + " && chmod go-w " + escape(file));
  return parse_agent_policy(read_all(fd.get(), limits::config_bytes, ExitStatus::config, file), file, use);
}

}  // namespace syncropy

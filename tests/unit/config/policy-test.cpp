#include "config/policy.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "tests/support/scratch.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

const std::string file = "/etc/syncropy/agent.yaml";

AgentPolicy parse(const std::string& text) { return parse_agent_policy(text, file); }

Error failure_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ExitStatus::success, "nothing was thrown");
}

bool has(const Error& error, std::string_view text) { return error.line().find(text) != std::string::npos; }

TEST(Policy, PrivateCa) {
  const AgentPolicy policy = parse("sslcert: a.crt\nsslkey: a.key\nsslca: /ca.crt\nservers: [backup.example.org, other]\n");
  EXPECT_EQ(policy.file, file);
  EXPECT_EQ(policy.ssl_certificate, "/etc/syncropy/a.crt");
  EXPECT_EQ(policy.ssl_key, "/etc/syncropy/a.key");
  EXPECT_EQ(policy.ssl_ca, "/ca.crt");
  EXPECT_EQ(policy.servers, (std::vector<std::string>{"backup.example.org", "other"}));
  EXPECT_TRUE(policy.pins.empty());
  EXPECT_EQ(policy.plain, PlainPolicy::none);
  EXPECT_EQ(policy.read, std::vector<std::string>{"/"});
  EXPECT_EQ(policy.commands, CommandPolicy::named);
  EXPECT_EQ(policy.connections, 64U);
  EXPECT_EQ(policy.idle_exit, 75U);
  EXPECT_EQ(policy.stall_timeout, 120U);
}

TEST(Policy, SelfSignedPairPinsItself) {
  const AgentPolicy policy = parse("sslpem: pair.pem\nsslpass: x\n");
  EXPECT_EQ(policy.ssl_certificate, "/etc/syncropy/pair.pem");
  EXPECT_EQ(policy.ssl_key, "/etc/syncropy/pair.pem");
  EXPECT_EQ(policy.ssl_password, "x");
  EXPECT_EQ(policy.pins, std::vector<std::string>{"/etc/syncropy/pair.pem"});
}

TEST(Policy, EveryOtherKey) {
  const AgentPolicy policy = parse("sslcert: c\nsslkey: k\nsslpin: [p, q]\nplain: loopback\nread: [/home/, /etc, /etc/ssh]\ndeny: /root, /etc/shadow\ncommands: any\nhooks_folder: /hooks\nconnections: 1\nidle_exit: 0\nstall_timeout: 5\n");
  EXPECT_EQ(policy.pins, (std::vector<std::string>{"/etc/syncropy/p", "/etc/syncropy/q"}));
  EXPECT_EQ(policy.plain, PlainPolicy::loopback);
  EXPECT_EQ(policy.read, (std::vector<std::string>{"/etc", "/home"}));
  EXPECT_EQ(policy.deny, (std::vector<std::string>{"/etc/shadow", "/root", "/run/credentials"}));
  EXPECT_EQ(policy.commands, CommandPolicy::any);
  EXPECT_EQ(policy.hooks_folder, "/hooks");
  EXPECT_EQ(policy.connections, 1U);
  EXPECT_EQ(policy.idle_exit, 0U);
  EXPECT_EQ(policy.stall_timeout, 5U);
}

// A `read` that says nothing must not open everything.
TEST(Policy, EmptyReadAllowsNothing) {
  EXPECT_TRUE(parse("plain: any\nread: []\n").read.empty());
  EXPECT_TRUE(parse("plain: any\nread:\n").read.empty());
}

// The example's key is a credential of the unit's.
struct PolicyExample : testing::Test {
  PolicyExample() {
    create_file(AT_FDCWD, credentials.path() + "/syncropy-agent.key", "a key", 0600);
    ::setenv("CREDENTIALS_DIRECTORY", credentials.path().c_str(), 1);
  }
  ~PolicyExample() override { ::unsetenv("CREDENTIALS_DIRECTORY"); }
  PolicyExample(const PolicyExample&) = delete;
  PolicyExample& operator=(const PolicyExample&) = delete;
  Scratch credentials;
};

TEST_F(PolicyExample, Loads) {
  const AgentPolicy policy = parse_agent_policy(read_file(AT_FDCWD, CONF_FOLDER "/agent.yaml.example", 1U << 20, ExitStatus::config), file);
  EXPECT_EQ(policy.servers, std::vector<std::string>{"backup.example.org"});
  EXPECT_EQ(policy.deny.size(), 4U);
  EXPECT_EQ(policy.ssl_key, credentials.path() + "/syncropy-agent.key");
  EXPECT_EQ(policy.commands, CommandPolicy::named);
}

TEST_F(PolicyExample, ShowsTheDefaults) {
  std::string text = read_file(AT_FDCWD, CONF_FOLDER "/agent.yaml.example", 1U << 20, ExitStatus::config);
  for (const std::string key : {"plain", "commands", "commands_as", "commands_if_cut", "hooks_folder", "connections", "idle_exit", "stall_timeout"}) {
    const std::size_t at = text.find("# " + key + ": ");
    ASSERT_NE(at, std::string::npos) << key;
    text.erase(at, 2);
  }
  const AgentPolicy policy = parse(text), usual;
  EXPECT_EQ(policy.plain, usual.plain);
  EXPECT_EQ(policy.commands, usual.commands);
  EXPECT_EQ(policy.commands_as, usual.commands_as);
  EXPECT_EQ(policy.commands_if_cut, usual.commands_if_cut);
  EXPECT_EQ(policy.hooks_folder, usual.hooks_folder);
  EXPECT_EQ(policy.connections, usual.connections);
  EXPECT_EQ(policy.idle_exit, usual.idle_exit);
  EXPECT_EQ(policy.stall_timeout, usual.stall_timeout);
}

TEST(Policy, WrongOnesNameTheLine) {
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"sslcrt: x\n", ":1: unknown key 'sslcrt' in the policy: did you mean 'sslcert'?"},
           {"plain: yes\n", ":1: 'plain' is not 'yes': write one of none, loopback, any"},
           {"plain: none\ncommands: all\n", ":2: 'commands' is not 'all'"},
           {"commands_as: syncropy\n", ":1: 'commands_as' is not 'syncropy': write one of agent, root"},
           {"commands: any\ncommands_as: root\n", ":2: 'commands_as: root' with 'commands: any' would give every server a root shell"},
           {"commands_if_cut: no\n", ":1: 'commands_if_cut' is not 'no'"},
           {"connections: 0\n", ":1: 'connections' is a number from 1 to 1024"},
           {"read: etc\n", ":1: 'etc' in 'read' is not an absolute path"},
           {"deny: [/a, ../b]\n", ":1: '../b' in 'deny'"},
           {"sslcert: c\nsslca: ca\n", ":2: with 'sslca' alone no server may connect"},
           {"sslcert: c\nservers: [a]\n", ":2: 'servers' names who may connect"},
           {"sslca: ca\nservers: [a]\n", ":1: 'sslca' is for TLS, and there is no certificate"},
           {"[a]\n", "this is not a list of keys and values"}}) {
    const Error error = failure_of([&] { static_cast<void>(parse(text)); });
    EXPECT_EQ(error.status(), ExitStatus::config) << text;
    EXPECT_TRUE(has(error, expected)) << error.line();
    EXPECT_FALSE(error.remedy().empty());
  }
}

// Decrypted for services, on no disk: not into a backup by oversight.
TEST(Policy, CredentialsAreAlwaysDenied) {
  EXPECT_EQ(AgentPolicy().deny, std::vector<std::string>{"/run/credentials"});
  EXPECT_EQ(parse("deny: []\n").deny, std::vector<std::string>{"/run/credentials"});
  EXPECT_EQ(parse("deny: /run\n").deny, std::vector<std::string>{"/run"});
  EXPECT_EQ(parse("deny: /run/credentials/x\n").deny, std::vector<std::string>{"/run/credentials"});
}

// A hook worker is handed no credential, and needs none.
TEST(Policy, HooksNeedNoTls) {
  const std::string text = "sslcert: c\nsslkey: credential:syncropy-agent.key\ncommands_as: root\ncommands_if_cut: finish\n";
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_EQ(failure_of([&] { static_cast<void>(parse(text)); }).status(), ExitStatus::config);
  const AgentPolicy policy = parse_agent_policy(text, file, PolicyUse::hooks);
  EXPECT_EQ(policy.commands, CommandPolicy::named);
  EXPECT_EQ(policy.commands_as, CommandUser::root);
  EXPECT_EQ(policy.commands_if_cut, CutPolicy::finish);
  EXPECT_EQ(failure_of([&] { static_cast<void>(parse_agent_policy("sslkye: x\n", file, PolicyUse::hooks)); }).status(), ExitStatus::config);
}

TEST(Policy, OthersMayNotWriteIt) {
  const Scratch scratch;
  const std::string path = scratch.path() + "/agent.yaml";
  create_file(AT_FDCWD, path, "plain: any\n", 0600);
  EXPECT_EQ(load_agent_policy(path).plain, PlainPolicy::any);
  for (const unsigned mode : {0620U, 0602U, 0666U}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    const Error error = failure_of([&] { static_cast<void>(load_agent_policy(path)); });
    EXPECT_EQ(error.status(), ExitStatus::refused);
    EXPECT_TRUE(has(error, "chmod go-w " + path)) << error.line();
  }
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_EQ(load_agent_policy(path).plain, PlainPolicy::any);
  // Nor put another into its place.
  ASSERT_EQ(::chmod(scratch.path().c_str(), 0777), 0);
  const Error error = failure_of([&] { static_cast<void>(load_agent_policy(path)); });
  EXPECT_EQ(error.status(), ExitStatus::refused);
  EXPECT_TRUE(has(error, "chmod go-w " + scratch.path())) << error.line();
  ASSERT_EQ(::chmod(scratch.path().c_str(), 0755), 0);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(path.c_str(), 65'534, 65'534), 0);
    EXPECT_EQ(failure_of([&] { static_cast<void>(load_agent_policy(path)); }).status(), ExitStatus::refused);
  }
}

TEST(Policy, MissingFile) {
  const Error error = failure_of([] { static_cast<void>(load_agent_policy("/nowhere/agent.yaml")); });
  EXPECT_EQ(error.status(), ExitStatus::no_input);
  EXPECT_TRUE(has(error, "syncropy-agent.yaml(5)")) << error.line();
}

}  // namespace
}  // namespace syncropy

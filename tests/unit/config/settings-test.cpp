#include "config/settings.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <random>

#include "config/policy.hpp"
#include "tests/support/scratch.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

const std::string file = "/etc/syncropy/prod.yaml";

Error failure_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ExitStatus::success, "nothing was thrown");
}

Error failure_of(const std::string& text, const std::string& name = file) {
  return failure_of([&] { static_cast<void>(parse_server_settings(text, name)); });
}

bool has(const Error& error, std::string_view text) { return error.line().find(text) != std::string::npos; }

// `before` stands before the clients, `client` is added to the only one.
std::string yaml(const std::string& client, const std::string& before = "") {
  return "general:\n  repository: /srv/backup\n" + before + "clients:\n  web1:\n    host: web1.example.org\n    path: /etc\n    sslcert: s.crt\n    sslkey: s.key\n" + client;
}

// The smallest client with `key` said anew.
std::string with(const std::string& key, const std::string& value) {
  std::string text = yaml("");
  if (const std::size_t at = text.find("    " + key + ": "); at != std::string::npos) text.erase(at, text.find('\n', at) + 1 - at);
  return text + "    " + key + ": " + value + "\n";
}

ClientSettings only_client(const std::string& text) { return parse_server_settings(text, file).clients.at(0); }

TEST(Settings, SmallestYaml) {
  const ServerSettings settings = parse_server_settings(yaml(""), file);
  EXPECT_EQ(settings.name, "prod");
  EXPECT_EQ(settings.file, file);
  EXPECT_EQ(settings.repository, "/srv/backup");
  EXPECT_EQ(settings.log_file, "");
  EXPECT_EQ(settings.log_level, LogLevel::info);
  EXPECT_EQ(settings.parallel, 5U);
  EXPECT_EQ(settings.database.host, "");
  EXPECT_EQ(settings.database.dbname, "/srv/backup/.syncropy/catalog.fdb");
  EXPECT_EQ(settings.hour, 24U);
  EXPECT_EQ(settings.day, 6U);
  EXPECT_EQ(settings.week, 4U);
  EXPECT_EQ(settings.month, 12U);
  ASSERT_EQ(settings.clients.size(), 1U);
  const ClientSettings& client = settings.clients[0];
  EXPECT_EQ(client.name, "web1");
  EXPECT_EQ(client.host, "web1.example.org");
  EXPECT_EQ(client.port, 4444U);
  EXPECT_TRUE(client.ssl);
  EXPECT_EQ(client.ssl_certificate, "/etc/syncropy/s.crt");
  EXPECT_EQ(client.ssl_key, "/etc/syncropy/s.key");
  EXPECT_EQ(client.ssl_pins, std::vector<std::string>{"/etc/syncropy/s.crt"});
  EXPECT_EQ(client.paths, std::vector<std::string>{"/etc"});
  EXPECT_TRUE(client.acl);
  EXPECT_FALSE(client.compress);
  EXPECT_FALSE(client.one_file_system);
  EXPECT_EQ(client.command_timeout, 3'600U);
  EXPECT_EQ(client.stall_timeout, 120U);
}

TEST(Settings, EveryKey) {
  const ServerSettings settings = parse_server_settings(
      "general: {repository: 'back up/', log_file: logs/x.log, log_level: Warning, parallel: 64}\n"
      "database: {host: db, port: 3051, user: me, password: \"geheim: #1\", dbname: alias, backup: b/catalog.fbk}\n"
      "dataset: {hour: 1, day: 10000, week: 2, month: 3}\n"
      "clients:\n"
      "  b: {host: /run/agent.socket, ssl: no, path: '/a, /b'}\n"
      "  a.b-c_d:\n"
      "    type: file\n    host: 2001:db8::1\n    port: 65535\n    ssl: on\n    sslcert: /k/c\n    sslkey: k\n    sslpass: secret\n    sslca: ca.crt\n    sslidentity: web\n"
      "    sslpin: [p1, /p2]\n    path: [/z, \"/a b, c\", //usr/./share/, /usr]\n    exclude: ['*.o', cache/]\n    acl: off\n    compress: 1\n    one_file_system: TRUE\n"
      "    pre_command: |\n      one\n      two\n    post_command: after\n    command_timeout: 1\n    stall_timeout: 86400\n    max_entries: 7\n    max_bytes: 2K\n    max_depth: 9\n",
      file);
  EXPECT_EQ(settings.repository, "/etc/syncropy/back up");
  EXPECT_EQ(settings.log_file, "/etc/syncropy/logs/x.log");
  EXPECT_EQ(settings.log_level, LogLevel::warning);
  EXPECT_EQ(settings.parallel, 64U);
  EXPECT_EQ(settings.database.host, "db");
  EXPECT_EQ(settings.database.port, 3051U);
  EXPECT_EQ(settings.database.user, "me");
  EXPECT_EQ(settings.database.password, "geheim: #1");
  EXPECT_EQ(settings.database.dbname, "alias");
  EXPECT_TRUE(settings.database.backup.ends_with("/b/catalog.fbk")) << settings.database.backup;
  EXPECT_EQ(settings.day, 10'000U);
  ASSERT_EQ(settings.clients.size(), 2U);
  EXPECT_EQ(settings.clients[0].name, "b");  // the file's order
  EXPECT_FALSE(settings.clients[0].ssl);
  EXPECT_EQ(settings.clients[0].paths, (std::vector<std::string>{"/a", "/b"}));
  const ClientSettings& client = settings.clients[1];
  EXPECT_EQ(client.host, "2001:db8::1");
  EXPECT_EQ(client.ssl_certificate, "/k/c");
  EXPECT_EQ(client.ssl_key, "/etc/syncropy/k");
  EXPECT_EQ(client.ssl_password, "secret");
  EXPECT_EQ(client.ssl_ca, "/etc/syncropy/ca.crt");
  EXPECT_EQ(client.ssl_identity, "web");
  EXPECT_EQ(client.ssl_pins, (std::vector<std::string>{"/etc/syncropy/p1", "/p2"}));
  EXPECT_EQ(client.paths, (std::vector<std::string>{"/a b, c", "/usr", "/z"}));
  EXPECT_EQ(client.excludes, (std::vector<std::string>{"*.o", "cache/"}));
  EXPECT_FALSE(client.acl);
  EXPECT_TRUE(client.compress);
  EXPECT_TRUE(client.one_file_system);
  EXPECT_EQ(client.pre_command, "one\ntwo\n");
  EXPECT_EQ(client.command_timeout, 1U);
  EXPECT_EQ(client.stall_timeout, 86'400U);
  EXPECT_EQ(client.max_entries, 7U);
  EXPECT_EQ(client.max_bytes, 2'048U);
  EXPECT_EQ(client.max_depth, 9U);
}

// The example of the classic program's README, as it stands there.
TEST(Settings, ClassicExampleLoadsVerbatim) {
  const ServerSettings settings = load_server_settings(CONF_FOLDER "/classic.cfg.example");
  const std::string folder = CONF_FOLDER;
  EXPECT_EQ(settings.repository, "/full/path/to/store/backups");
  EXPECT_EQ(settings.log_file, folder + "/syncropy-ng.log");
  EXPECT_EQ(settings.log_level, LogLevel::info);
  EXPECT_EQ(settings.database.host, "localhost");
  EXPECT_EQ(settings.database.port, 3050U);
  EXPECT_EQ(settings.database.user, "sysdba");
  EXPECT_EQ(settings.database.password, "masterkey");
  EXPECT_EQ(settings.database.dbname, "syncropy.fdb");
  EXPECT_EQ(settings.hour, 24U);
  EXPECT_EQ(settings.month, 12U);
  ASSERT_EQ(settings.clients.size(), 1U);
  const ClientSettings& client = settings.clients[0];
  EXPECT_EQ(client.name, "a_server");
  EXPECT_EQ(client.host, "localhost");
  EXPECT_EQ(client.port, 4444U);
  EXPECT_TRUE(client.ssl);
  EXPECT_EQ(client.ssl_certificate, folder + "/ssl.crt");
  EXPECT_EQ(client.ssl_key, folder + "/ssl.key");
  EXPECT_EQ(client.ssl_pins, std::vector<std::string>{folder + "/ssl.crt"});
  EXPECT_EQ(client.paths, std::vector<std::string>{"/full/path/to/backup"});
  EXPECT_TRUE(client.acl);
  EXPECT_EQ(client.pre_command, "");
  EXPECT_EQ(client.post_command, "");
}

TEST(Settings, YamlExampleLoads) {
  const Scratch scratch;
  create_file(AT_FDCWD, scratch.path() + "/pair", "secret\n", 0600);
  ::setenv("CREDENTIALS_DIRECTORY", scratch.path().c_str(), 1);
  const ServerSettings settings = load_server_settings(CONF_FOLDER "/syncropy.yaml.example");
  ::unsetenv("CREDENTIALS_DIRECTORY");
  ASSERT_EQ(settings.clients.size(), 2U);
  EXPECT_EQ(settings.clients[0].excludes.size(), 3U);
  EXPECT_EQ(settings.clients[1].paths, (std::vector<std::string>{"/etc", "/var/lib/dumps"}));
  EXPECT_EQ(settings.clients[1].ssl_password, "secret");
  EXPECT_EQ(settings.clients[1].pre_command, "dump-databases");
}

// What the example says is the default is the default, and every key it shows is known.
TEST(Settings, YamlExampleWithItsCommentsTakenOff) {
  std::string text = read_file(AT_FDCWD, CONF_FOLDER "/syncropy.yaml.example", 1U << 20, ExitStatus::config);
  for (const std::string key : {"log_level", "log_file", "parallel", "port", "sslidentity", "acl", "compress", "one_file_system", "max_entries", "max_bytes", "command_timeout", "stall_timeout"}) {
    const std::size_t at = text.find("# " + key + ": ");
    ASSERT_NE(at, std::string::npos) << key;
    text.erase(at, 2);
  }
  text.replace(text.find("credential:pair"), 15, "x");
  const ServerSettings settings = parse_server_settings(text, file);
  EXPECT_EQ(settings.parallel, ServerSettings().parallel);
  EXPECT_EQ(settings.log_level, ServerSettings().log_level);
  const ClientSettings usual;
  EXPECT_EQ(settings.clients[0].port, usual.port);
  EXPECT_EQ(settings.clients[0].acl, usual.acl);
  EXPECT_EQ(settings.clients[0].compress, usual.compress);
  EXPECT_EQ(settings.clients[0].one_file_system, usual.one_file_system);
  EXPECT_EQ(settings.clients[0].max_entries, usual.max_entries);
  EXPECT_EQ(settings.clients[1].command_timeout, usual.command_timeout);
  EXPECT_EQ(settings.clients[1].stall_timeout, usual.stall_timeout);
}

TEST(Settings, ClassicWithoutSslMeansNone) {
  const std::string text = "[general]\nrepository=/r\n[c]\nhost=h\npath=/a\n";
  EXPECT_FALSE(only_client(text).ssl);
  EXPECT_TRUE(only_client(yaml("")).ssl);
}

TEST(Settings, ClassicSpellings) {
  const ClientSettings client = only_client(
      "\xEF\xBB\xBF; a comment\r\n# another\r\n[general]\r\nRepository: /r = x\r\nlog_level = CRITICAL\r\n\r\n[c] ignored\r\n  HOST=h\r\n  path = /b,\r\n    /a\r\n  SSL = Yes\r\n"
      "  sslpem = both.pem\r\n  sslpass = a%b ; c\r\n  compress = on\r\n");
  EXPECT_EQ(client.host, "h");
  EXPECT_EQ(client.paths, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(client.ssl_certificate, "/etc/syncropy/both.pem");
  EXPECT_EQ(client.ssl_key, "/etc/syncropy/both.pem");
  EXPECT_EQ(client.ssl_password, "a%b ; c");
  EXPECT_TRUE(client.compress);
  EXPECT_EQ(parse_server_settings("[general]\nrepository: /r = x\nlog_level = CRITICAL\n[c]\nhost=h\npath=/a\n", file).log_level, LogLevel::error);
}

TEST(Settings, ClassicDefaultSectionStandsInForClients) {
  const ServerSettings settings = parse_server_settings("[DEFAULT]\nport = 5555\n[general]\nrepository=/r\n[c]\nhost=h\npath=/a\n[d]\nhost=h\npath=/a\nport=1\n", file);
  EXPECT_EQ(settings.clients[0].port, 5555U);
  EXPECT_EQ(settings.clients[1].port, 1U);
}

TEST(Settings, CertificateAndKeyByAnyOfThreeKeys) {
  auto pair = [](const std::string& lines) {
    const ClientSettings client = only_client("[general]\nrepository=/r\n[c]\nhost=h\npath=/a\nssl=yes\n" + lines);
    return client.ssl_certificate + " " + client.ssl_key;
  };
  EXPECT_EQ(pair("sslpem=/p\n"), "/p /p");
  EXPECT_EQ(pair("sslcert=/c\nsslkey=/k\nsslpem=/p\n"), "/c /k");
  EXPECT_EQ(pair("sslcert=/c\nsslpem=/p\n"), "/c /p");
  EXPECT_EQ(pair("sslcert=/c\n"), "/c /c");
}

struct Wrong {
  std::string text;
  std::string expected;  // of "FILE:LINE: WHAT: REMEDY", without FILE
};

class WrongSettings : public testing::TestWithParam<Wrong> {};

TEST_P(WrongSettings, EndsInOneErrorWithLineAndRemedy) {
  const Error error = failure_of(GetParam().text);
  EXPECT_EQ(error.status(), ExitStatus::config) << error.line();
  EXPECT_TRUE(std::string_view(error.what()).starts_with(file + ":")) << error.what();
  EXPECT_TRUE(has(error, GetParam().expected)) << error.line();
  EXPECT_FALSE(error.remedy().empty()) << error.line();
  EXPECT_EQ(error.line().find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Yaml, WrongSettings, testing::Values(
    Wrong{yaml("    pat: /x\n"), ":9: unknown key 'pat' in client 'web1': did you mean 'path'?"},
    Wrong{yaml("    Path: /x\n"), ":9: unknown key 'Path' in client 'web1': did you mean 'path'?"},
    Wrong{yaml("    ssl_cert: /x\n"), "did you mean 'sslcert'?"},
    Wrong{yaml("    something_else: /x\n"), ":9: unknown key 'something_else' in client 'web1': known here are type, host, port"},
    Wrong{yaml("", "databse: {}\n"), ":3: unknown section 'databse': did you mean 'database'?"},
    Wrong{yaml("    host: again\n"), ":9: 'host' stands here for the second time; the first is in line 5"},
    Wrong{yaml("  web1:\n    host: h\n"), ":9: 'web1' stands here for the second time; the first is in line 4"},
    Wrong{yaml("    port: many\n"), ":9: 'port' is a number from 1 to 65535, not 'many'"},
    Wrong{yaml("    port: 0\n"), ":9: 'port' is a number"},
    Wrong{yaml("    port: 65536\n"), ":9: 'port' is a number"},
    Wrong{yaml("    port: -1\n"), "not '-1'"},
    Wrong{yaml("    port: 1.5\n"), "not '1.5'"},
    Wrong{yaml("    port: [1]\n"), ":9: 'port' takes one value, not a list"},
    Wrong{yaml("    port: {a: b}\n"), ":9: 'port' takes one value, not keys and values"},
    Wrong{yaml("    acl: maybe\n"), ":9: 'acl' is yes or no, not 'maybe'"},
    Wrong{yaml("    max_bytes: 9999999T\n"), ":9: 'max_bytes' is a number of bytes"},
    Wrong{yaml("    max_bytes: 0\n"), "'max_bytes'"},
    Wrong{yaml("    max_bytes: K\n"), "'max_bytes'"},
    Wrong{yaml("    max_depth: 1001\n"), "'max_depth' is a number from 1 to 1000"},
    Wrong{yaml("    type: block\n"), ":9: 'type' is not 'block': 'file' is the only one there is"},
    Wrong{yaml("    exclude: ['']\n"), ":9: 'exclude' is a list of texts"},
    Wrong{yaml("    exclude: ['**']\n"), ":9: the pattern '**' in 'exclude'"},
    Wrong{yaml("    exclude: [[a]]\n"), ":9: 'exclude' is a list of texts"},
    Wrong{yaml("    sslpass: credential:../x\n"), "is not the name of a credential"},
    Wrong{yaml("    sslpass: credential:x\n"), ":9: 'sslpass' names the credential 'x', but the service manager passed none"},
    Wrong{yaml("    pre_command: " + std::string(9'000, 'x') + "\n"), ":9: 'pre_command' is longer than 8192 bytes"},
    Wrong{yaml("", "general2: 1\n"), "did you mean 'general'?"},
    Wrong{yaml("", "dataset: {hour: 0}\n"), ":3: 'hour' is a number from 1 to 10000, not '0'"},
    Wrong{yaml("", "dataset: {year: 1}\n"), ":3: unknown key 'year' in section 'dataset'"},
    Wrong{yaml("", "dataset: 24\n"), ":3: section 'dataset' must hold keys and values"},
    Wrong{yaml("", "database: {host: db, password: x}\n"), ":3: section 'database' has no 'dbname'"},
    Wrong{yaml("", "database: {host: db, dbname: x}\n"), ":3: the Firebird server at 'db' wants a password"},
    Wrong{"general: {}\nclients: {a: {host: h, path: /a, ssl: no}}\n", ":1: section 'general' has no 'repository'"},
    Wrong{"clients: {a: {host: h, path: /a, ssl: no}}\n", ":1: section 'general' has no 'repository'"},
    Wrong{"general: {repository: }\nclients: {a: {host: h, path: /a, ssl: no}}\n", ":1: section 'general' has no 'repository'"},
    Wrong{"general: {repository: /r, log_level: loud}\n", ":1: 'log_level' is not 'loud': write debug, info, warning or error"},
    Wrong{"general: {repository: /r, parallel: 65}\n", ":1: 'parallel' is a number from 1 to 64"},
    Wrong{"general: {repository: /r}\n", ":1: there is no client in it"},
    Wrong{"general: {repository: /r}\nclients:\n", "there is no client in it"},
    Wrong{"general: {repository: /r}\nclients: [a]\n", ":2: 'clients' must hold one section for each client"},
    Wrong{"general: {repository: /r}\nclients:\n  ../etc: {host: h}\n", ":3: '../etc' cannot be the name of a client"},
    Wrong{"general: {repository: /r}\nclients:\n  \"a\\nb\": {host: h}\n", ":3: 'a\\nb' cannot be the name of a client"},
    Wrong{"general: {repository: /r}\nclients:\n  a: h\n", ":3: client 'a' must hold keys and values"},
    Wrong{"general: {repository: /r}\nclients:\n  a: {path: /a, ssl: no}\n", ":3: client 'a' has no 'host'"},
    Wrong{"general: {repository: /r}\nclients:\n  a: {host: 'a b', path: /a, ssl: no}\n", ":3: 'a b' is not the name or the address"},
    Wrong{"general: {repository: /r}\nclients:\n  a: {host: h, ssl: no}\n", ":3: client 'a' has no 'path'"},
    Wrong{"general: {repository: /r}\nclients:\n  a: {host: h, path: etc, ssl: no}\n", ":3: 'etc' in 'path' is not an absolute path"},
    Wrong{"general: {repository: /r}\nclients:\n  a: {host: h, path: /a/../b, ssl: no}\n", "not an absolute path without '..'"},
    Wrong{"general: {repository: /r}\nclients:\n  a: {host: h, path: /" + std::string(300, 'x') + ", ssl: no}\n", "in 'path'"},
    Wrong{"general: {repository: /r}\nclients:\n  a: {host: h, path: /a}\n", ":3: client 'a' uses TLS, and there is no certificate for it"},
    Wrong{"", ":1: there is nothing in this file"},
    Wrong{"# nothing\n", "there is nothing in this file"},
    Wrong{"- a\n- b\n", ":1: this is not a list of keys and values"},
    Wrong{"general:\n\trepository: /r\n", ":2: this is not valid YAML"},
    Wrong{"general: {repository: /r\n", "this is not valid YAML"},
    Wrong{"general: &a {repository: /r}\ndatabase: *a\n", ":2: aliases (*name) are not supported"},
    Wrong{"general: !!python/object {repository: /r}\n", ":1: tags ("},
    Wrong{"general: {repository: \"/r\\0x\"}\n", ":1: a value has a NUL byte in it"},
    Wrong{"? [a, b]\n: c\n", "a key is not plain text"},
    Wrong{"general: {repository: /r}\n---\nclients: {}\n", "a second YAML document"}));

INSTANTIATE_TEST_SUITE_P(Classic, WrongSettings, testing::Values(
    Wrong{"[general]\nrepository=/r\n[c]\nhost=h\npth=/a\n", ":5: unknown key 'pth' in client 'c': did you mean 'path'?"},
    Wrong{"[general]\nrepository=/r\n[c]\nhost=h\npath=/a\nport=x\n", ":6: 'port' is a number"},
    Wrong{"[general]\nrepository=/r\nREPOSITORY=/s\n", ":3: 'repository' stands here for the second time; the first is in line 2"},
    Wrong{"[general]\nrepository=/r\n\n[general]\n", ":4: section [general] stands here for the second time; the first is in line 1"},
    Wrong{"[general]\nrepository=/r\n[c]\nhost=h\n", ":3: client 'c' has no 'path'"},
    Wrong{"[general]\nrepository=/r\n", "add a section [NAME] for each machine"},
    Wrong{"[general]\njust words\n", ":2: 'just words' is neither '[section]' nor 'key = value'"},
    Wrong{"[general]\n= x\n", ":2: '= x' is neither"},
    Wrong{"[general\n", ":1: '[general' is not the head of a section"},
    Wrong{"[]\n", ":1: '[]' is not the head of a section"},
    Wrong{"[general]\nrepository=/r\n[bad name]\nhost=h\n", ":3: 'bad name' cannot be the name of a client"},
    Wrong{"[general]\nrepository=/r\n[c]\nhost=h\npath=/a\nssl=yes\n", ":6: client 'c' uses TLS, and there is no certificate"},
    Wrong{std::string("[general]\nrepository=/r") + '\0' + "x\n", ":2: there is a NUL byte in this line"},
    Wrong{"[DEFAULT]\nnonsense = 1\n[general]\nrepository=/r\n[c]\nhost=h\npath=/a\n", ":2: unknown key 'nonsense'"}));

TEST(Settings, TooLarge) {
  const Error error = failure_of("# " + std::string(1U << 20, 'x'));
  EXPECT_EQ(error.status(), ExitStatus::config);
  EXPECT_TRUE(has(error, "is larger than")) << error.line();
}

// Each of these is within the limit of text: it must neither take long nor exhaust memory or stack.
TEST(Settings, HostileTextsEndSoon) {
  const auto start = std::chrono::steady_clock::now();
  std::string many_clients = "general: {repository: /r}\nclients:\n", many_keys = "general:\n", many_sections = "[general]\nrepository=/r\n", many_ini_keys = many_sections;
  for (int i = 0; many_clients.size() < 1'000'000; ++i) many_clients += "  c" + std::to_string(i) + ":\n";
  for (int i = 0; many_keys.size() < 1'000'000; ++i) many_keys += "  k" + std::to_string(i) + ":\n";
  for (int i = 0; many_sections.size() < 1'000'000; ++i) many_sections += "[s" + std::to_string(i) + "]\n";
  for (int i = 0; many_ini_keys.size() < 1'000'000; ++i) many_ini_keys += "k" + std::to_string(i) + "=\n";
  std::string bomb = "a0: &a0 x\n";
  for (int i = 1; i < 40; ++i) bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + ", *a" + std::to_string(i - 1) + "]\n";
  std::string indented = "a:\n";
  for (int i = 1; indented.size() < 900'000; ++i) indented += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  for (const std::string& text : {many_clients, many_keys, many_sections, many_ini_keys, bomb, indented, std::string(1'000'000, '['), "a: " + std::string(1'000'000, '['),
                                  "a: " + std::string(1'000'000, '{'), std::string(1'000'000, '-'), "a: \"" + std::string(1'000'000, 'x') + "\"", std::string(1'000'000, '\n'), "- " + std::string(999'990, '?')})
    EXPECT_EQ(failure_of(text).status(), ExitStatus::config);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 30);
}

// Whatever a damaged file says, it ends in settings or in an Error that names the file.
TEST(Settings, DamagedTextsEndInAnError) {
  const Scratch credentials;
  create_file(AT_FDCWD, credentials.path() + "/syncropy-agent.key", "x", 0600);
  ::setenv("CREDENTIALS_DIRECTORY", credentials.path().c_str(), 1);
  std::mt19937 random(7);
  const std::string alphabet = " \t\n\r:[]{}#&*!|>'\"%@`,-?~<=;.0aZ\\/\x80\xff\xc3" + std::string(1, '\0');
  int loaded = 0, refused = 0;
  for (const char* name : {CONF_FOLDER "/syncropy.yaml.example", CONF_FOLDER "/classic.cfg.example", CONF_FOLDER "/agent.yaml.example"}) {
    const std::string original = read_file(AT_FDCWD, name, 1U << 20, ExitStatus::config);
    for (int i = 0; i < 3'000; ++i) {
      std::string text = original;
      for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
        const std::size_t at = random() % text.size();
        switch (random() % 4) {
          case 0: text[at] = alphabet[random() % alphabet.size()]; break;
          case 1: text.insert(at, 1, alphabet[random() % alphabet.size()]); break;
          case 2: text.erase(at, 1 + random() % 20); break;
          default: text.insert(at, text.substr(random() % text.size(), random() % 40)); break;
        }
        if (text.empty()) text = "x";
      }
      const Error error = failure_of([&] {
        if (name == std::string_view(CONF_FOLDER "/agent.yaml.example")) static_cast<void>(parse_agent_policy(text, file));
        else static_cast<void>(parse_server_settings(text, file));
      });
      ++(error.status() == ExitStatus::success ? loaded : refused);
      if (error.status() == ExitStatus::success) continue;
      ASSERT_EQ(error.status(), ExitStatus::config) << text;
      ASSERT_TRUE(std::string_view(error.what()).starts_with(file + ":")) << error.what();
      ASSERT_EQ(error.line().find_first_of("\n\r\x1b"), std::string::npos) << error.line();
    }
  }
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_GT(loaded, 500);
  EXPECT_GT(refused, 500);
}

TEST(Settings, TenThousandClientsLoad) {
  std::string text = "[general]\nrepository=/r\n";
  for (int i = 0; i < 10'000; ++i) text += "[c" + std::to_string(i) + "]\nhost=h\npath=/a\n";
  EXPECT_EQ(parse_server_settings(text, file).clients.size(), 10'000U);
  EXPECT_TRUE(has(failure_of(text + "[one-more]\nhost=h\npath=/a\n"), "more than 10000 clients"));
}

TEST(Settings, MissingAndUnreadableFiles) {
  const Error missing = failure_of([] { static_cast<void>(load_server_settings("/nowhere/prod.yaml")); });
  EXPECT_EQ(missing.status(), ExitStatus::no_input);
  EXPECT_TRUE(has(missing, "/nowhere/prod.yaml (No such file or directory)")) << missing.line();
  const Error folder = failure_of([] { static_cast<void>(load_server_settings("/")); });
  EXPECT_EQ(folder.status(), ExitStatus::config);
  EXPECT_EQ(failure_of([] { static_cast<void>(load_server_settings("/dev/zero")); }).status(), ExitStatus::config);
}

TEST(Settings, SecretsFromCredentials) {
  const Scratch scratch;
  create_file(AT_FDCWD, scratch.path() + "/tls", "pass word\n", 0600);
  create_file(AT_FDCWD, scratch.path() + "/empty", "\n", 0600);
  ::setenv("CREDENTIALS_DIRECTORY", scratch.path().c_str(), 1);
  EXPECT_EQ(only_client(yaml("    sslpass: credential:tls\n")).ssl_password, "pass word");
  EXPECT_EQ(parse_server_settings(yaml("", "database: {host: db, dbname: x, password: credential:tls}\n"), file).database.password, "pass word");
  const Error missing = failure_of(yaml("    sslpass: credential:other\n"));
  EXPECT_TRUE(has(missing, ":9: 'sslpass' names the credential 'other', which is not there")) << missing.line();
  EXPECT_TRUE(has(missing, "LoadCredential=other ")) << missing.line();
  EXPECT_TRUE(has(failure_of(yaml("    sslpass: credential:empty\n")), "is empty"));
  // Who reads the repository alone needs none.
  const std::string both = yaml("    sslpass: credential:other\n", "database: {host: db, dbname: x, password: credential:tls}\n");
  EXPECT_EQ(parse_server_settings(both, file, Secrets::of_database).database.password, "pass word");
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_THROW(static_cast<void>(parse_server_settings(both, file, Secrets::of_database)), Error);
  EXPECT_EQ(parse_server_settings(both, file, Secrets::none).clients.size(), 1U);
  // A client without TLS needs none.
  EXPECT_FALSE(only_client(yaml("    sslpass: credential:tls\n    ssl: no\n")).ssl);
  EXPECT_FALSE(only_client(with("sslkey", "credential:tls") + "    ssl: no\n").ssl);
}

// systemd 252 takes an encrypted credential by another name than a plain one.
TEST(Settings, KeysFromCredentials) {
  const Scratch scratch;
  for (const char* name : {"plain", "encrypted.cred", "twice", "twice.cred"}) create_file(AT_FDCWD, scratch.path() + "/" + name, "x", 0600);
  EXPECT_TRUE(has(failure_of(with("sslkey", "credential:plain")), "the service manager passed none"));
  ::setenv("CREDENTIALS_DIRECTORY", scratch.path().c_str(), 1);
  for (const std::string key : {"sslcert", "sslkey", "sslpem", "sslca", "sslpin"}) {
    const Error missing = failure_of(with(key, "credential:none"));
    EXPECT_EQ(missing.status(), ExitStatus::config);
    EXPECT_TRUE(has(missing, "'" + key + "' names the credential 'none', which is not there")) << missing.line();
  }
  EXPECT_EQ(only_client(with("sslkey", "credential:plain")).ssl_key, scratch.path() + "/plain");
  EXPECT_EQ(only_client(with("sslca", "credential:plain")).ssl_ca, scratch.path() + "/plain");
  EXPECT_EQ(only_client(with("sslpin", "[credential:plain, p]")).ssl_pins, (std::vector<std::string>{scratch.path() + "/plain", "/etc/syncropy/p"}));
  EXPECT_EQ(only_client(with("sslkey", "credential:encrypted")).ssl_key, scratch.path() + "/encrypted.cred");
  EXPECT_EQ(only_client(with("sslpass", "credential:encrypted")).ssl_password, "x");
  // A stale one must not be taken for the one that is meant.
  EXPECT_TRUE(has(failure_of(with("sslkey", "credential:twice")), "a plain one and an encrypted one"));
  EXPECT_TRUE(has(failure_of(with("sslkey", "credential:../plain")), "is not the name of a credential"));
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

// "known here are a, b, c" lists what the reader knows; each must have its paragraph.
void expect_documented(const Error& error, const std::string& page) {
  const std::string text = read_file(AT_FDCWD, page, 1U << 20, ExitStatus::config), known = error.remedy();
  static constexpr std::string_view head = "known here are ";
  ASSERT_TRUE(known.starts_with(head)) << error.line();
  for (std::size_t at = head.size(); at < known.size();) {
    const std::size_t end = std::min(known.find(", ", at), known.size());
    EXPECT_NE(text.find("\n.It Cm " + known.substr(at, end - at) + "\n"), std::string::npos) << known.substr(at, end - at) << " is missing in " << page;
    at = end + 2;
  }
}

TEST(ManPages, EveryKeyIsThere) {
  const std::string unknown = "no_such_key_at_all_anywhere: 1";
  const std::string page = MAN_FOLDER "/syncropy.yaml.5";
  expect_documented(failure_of("general: {" + unknown + "}\n"), page);
  expect_documented(failure_of(yaml("", "database: {" + unknown + "}\n")), page);
  expect_documented(failure_of(yaml("", "dataset: {" + unknown + "}\n")), page);
  expect_documented(failure_of(yaml("    " + unknown + "\n")), page);
  expect_documented(failure_of([&] { static_cast<void>(parse_agent_policy(unknown + "\n", file)); }), MAN_FOLDER "/syncropy-agent.yaml.5");
}

TEST(FindConfig, FileOrName) {
  const Scratch scratch;
  ::setenv("SYNCROPY_CONFIG_FOLDER", scratch.path().c_str(), 1);
  EXPECT_EQ(config_folder(), scratch.path());
  create_file(AT_FDCWD, scratch.path() + "/prod.yaml", "", 0600);
  create_file(AT_FDCWD, scratch.path() + "/old.cfg", "", 0600);
  create_file(AT_FDCWD, scratch.path() + "/two.cfg", "", 0600);
  create_file(AT_FDCWD, scratch.path() + "/two.yaml", "", 0600);
  EXPECT_EQ(find_config("prod"), scratch.path() + "/prod.yaml");
  EXPECT_EQ(find_config("old"), scratch.path() + "/old.cfg");
  EXPECT_EQ(find_config_named("prod"), scratch.path() + "/prod.yaml");
  EXPECT_EQ(failure_of([] { static_cast<void>(find_config_named("two")); }).status(), ExitStatus::config);
  EXPECT_EQ(failure_of([] { static_cast<void>(find_config_named("none")); }).status(), ExitStatus::config);
  // Whatever lies about where a service is started, and whatever a name looks like.
  for (const char* name : {"two.cfg", "../prod", "/etc/passwd", ""})
    EXPECT_EQ(failure_of([&] { static_cast<void>(find_config_named(name)); }).status(), ExitStatus::config) << name;
  create_file(AT_FDCWD, scratch.path() + "/web-daily.yaml", "x", 0600);
  const Error longer = failure_of([] { static_cast<void>(find_config_named("web")); });
  EXPECT_TRUE(has(longer, "web-daily.yaml, whose instances are web-daily-hourly")) << longer.line();
  EXPECT_EQ(find_config(scratch.path() + "/two.cfg"), scratch.path() + "/two.cfg");
  EXPECT_EQ(failure_of([] { static_cast<void>(find_config("two")); }).status(), ExitStatus::config);
  const Error missing = failure_of([] { static_cast<void>(find_config("none")); });
  EXPECT_EQ(missing.status(), ExitStatus::no_input);
  EXPECT_TRUE(has(missing, scratch.path() + "/none.yaml or " + scratch.path() + "/none.cfg")) << missing.line();
  EXPECT_EQ(failure_of([] { static_cast<void>(find_config("/nowhere/x.yaml")); }).status(), ExitStatus::no_input);
  EXPECT_EQ(failure_of([] { static_cast<void>(find_config("")); }).status(), ExitStatus::no_input);
  EXPECT_EQ(failure_of([] { static_cast<void>(find_config("../etc/prod")); }).status(), ExitStatus::no_input);
  ::unsetenv("SYNCROPY_CONFIG_FOLDER");
  EXPECT_TRUE(config_folder().ends_with("/syncropy")) << config_folder();
}

TEST(ParseInstance, SuffixIsTheTier) {
  for (const auto& [text, config, tier] : {std::tuple("prod-hourly", "prod", Tier::hour), std::tuple("a-b-daily", "a-b", Tier::day), std::tuple("x-weekly", "x", Tier::week), std::tuple("daily-monthly", "daily", Tier::month)}) {
    const Instance instance = parse_instance(text);
    EXPECT_EQ(instance.config, config);
    EXPECT_EQ(instance.tier, tier);
  }
  for (const char* text : {"", "prod", "-hourly", "prod-yearly", "prod-hourly-", "hourly"})
    EXPECT_EQ(failure_of([&] { static_cast<void>(parse_instance(text)); }).status(), ExitStatus::usage) << text;
}

}  // namespace
}  // namespace syncropy

#include "enrol/ca-folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <thread>

#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr const char *key_file = "ca.key", *root_file = "ca.crt", *revoked_file = "ca.crl", *servers_file = "servers", *issued_file = "issued", *tokens_file = "tokens", *lock_file = "lock";
constexpr std::size_t pem_bytes = 1U << 20;
constexpr std::chrono::seconds lock_patience{10};
constexpr std::size_t serial_digits = 40;  // RFC 5280, 4.1.2.2

// One line of `issued` or `tokens`, cut at blanks.
class Line {
 public:
  Line(std::string_view text, std::string where) : rest_(text), where_(std::move(where)) {}
  std::string_view word() {
    const std::size_t end = std::min(rest_.find(' '), rest_.size());
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (word.empty()) reject();
    return word;
  }
  std::time_t time() {
    const std::string_view digits = word();
    std::int64_t value = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (code != std::errc() || end != digits.data() + digits.size()) reject();
    return value;
  }
  std::string serial() {
    const std::string_view digits = word();
    const bool is_hex = std::all_of(digits.begin(), digits.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    if (!is_hex || digits.size() > serial_digits || digits.size() % 2 != 0) reject();
    return std::string(digits);
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    for (std::string_view all = word(); !all.empty();) {
      const std::size_t end = std::min(all.find(','), all.size());
      names.emplace_back(all.substr(0, end));
      if (!is_certificate_name(names.back()) || names.size() > limits::certificate_names) reject();
      all.remove_prefix(std::min(end + 1, all.size()));
    }
    if (!rest_.empty()) reject();
    return names;
  }
  [[noreturn]] void reject() const { throw Error(ExitStatus::data, where_ + " cannot be understood", "restore the folder of the CA from a backup"); }

 private:
  std::string_view rest_;
  std::string where_;
};

template <typename Entry, typename Parse>
std::vector<Entry> parse_lines(std::string_view text, const std::string& file, Parse parse) {
  std::vector<Entry> entries;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    Line line(text.substr(0, end), escape(file) + ":" + std::to_string(number));
    entries.push_back(parse(line));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return entries;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

Fd open_folder(const std::string& path) {
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder && errno == ENOENT) throw Error(ExitStatus::no_input, "there is no CA in " + escape(path), "make one: syncropy ca init");
  if (!folder) throw_errno(ExitStatus::refused, "open the CA's folder", path, "run this as root");
  struct stat st{};
  if (::fstat(folder.get(), &st) != 0) throw_errno(ExitStatus::refused, "look at", path);
  if (st.st_uid != ::geteuid() || (st.st_mode & 077) != 0)
    throw Error(ExitStatus::refused, "the CA's folder " + escape(path) + " is not this user's alone", "it must belong to the CA's user, with mode 0700");
  return folder;
}

Fd lock_folder(int folder, const std::string& path) {
  Fd lock(::openat(folder, lock_file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock) throw_errno(ExitStatus::io, "open the lock of", path);
  const auto give_up = std::chrono::steady_clock::now() + lock_patience;
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw_errno(ExitStatus::io, "lock", path);
    if (std::chrono::steady_clock::now() > give_up) throw Error(ExitStatus::busy, "somebody else works with the CA in " + escape(path), "wait for it, and try again");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return lock;
}

}  // namespace

void CaFolder::make(const std::string& path, const Authority& authority, const std::vector<std::string>& servers) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throw_errno(ExitStatus::io, "make the CA's folder", path);
  const Fd folder = open_folder(path);
  const Fd lock = lock_folder(folder.get(), path);
  struct stat st{};
  if (::fstatat(folder.get(), root_file, &st, AT_SYMLINK_NOFOLLOW) == 0)
    throw Error(ExitStatus::conflict, "there is a CA in " + escape(path) + " already, and machines that believe it", "'syncropy ca list' shows what it has issued");
  std::string names, key = authority.key_pem();
  for (const std::string& name : servers) names += name + "\n";
  replace_file(folder.get(), servers_file, names, 0600);
  replace_file(folder.get(), issued_file, "", 0600);
  replace_file(folder.get(), tokens_file, "", 0600);
  replace_file(folder.get(), revoked_file, authority.revocation_list({}, std::time(nullptr)), 0600);
  replace_file(folder.get(), key_file, key, 0600);
  wipe(key);
  // The last one: without it there is no CA, and this can be done again.
  replace_file(folder.get(), root_file, authority.certificate_pem(), 0600);
}

CaFolder::CaFolder(const std::string& folder) : path_(folder), folder_(open_folder(folder)) {
  if (struct stat st{}; ::fstatat(folder_.get(), root_file, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
    throw Error(ExitStatus::no_input, "there is no CA in " + escape(folder), "make one: syncropy ca init");
  lock_ = lock_folder(folder_.get(), folder);
}

std::string CaFolder::read(const std::string& name) const {
  try {
    return read_file(folder_.get(), name, name == issued_file || name == tokens_file ? limits::ca_file_bytes : pem_bytes, ExitStatus::data);
  } catch (const Error& error) {
    throw Error(error.status(), error.what(), "restore " + escape(path_ + "/" + name) + " from a backup");
  }
}

Authority CaFolder::authority() const {
  std::string key = read(key_file);
  Authority authority(read(root_file), key);
  wipe(key);
  return authority;
}

std::vector<std::string> CaFolder::servers() const {
  const std::string text = read(servers_file);
  std::vector<std::string> names = parse_lines<std::string>(text, path_ + "/" + servers_file, [](Line& line) { return line.names().front(); });
  if (names.empty() || names.size() > limits::certificate_names) Line("", escape(path_ + "/" + servers_file)).reject();
  return names;
}

std::vector<IssuedEntry> CaFolder::issued() const {
  return parse_lines<IssuedEntry>(read(issued_file), path_ + "/" + issued_file, [](Line& line) {
    IssuedEntry entry;
    entry.serial = line.serial();
    const std::string_view part = line.word();
    if (part != "agent" && part != "server") line.reject();
    entry.part = part == "agent" ? Part::agent : Part::server;
    entry.from = line.time();
    entry.to = line.time();
    Line revoked = line;
    if (line.word() != "-") entry.revoked = revoked.time();
    entry.names = line.names();
    return entry;
  });
}

void CaFolder::write_issued(const std::vector<IssuedEntry>& entries) const {
  if (entries.size() > limits::issued_certificates)
    throw Error(ExitStatus::refused, "this CA has issued " + std::to_string(limits::issued_certificates) + " certificates that are still valid", "revoke what is not needed: syncropy ca revoke");
  std::string text;
  for (const IssuedEntry& entry : entries)
    text += entry.serial + (entry.part == Part::agent ? " agent " : " server ") + std::to_string(entry.from) + " " + std::to_string(entry.to) + " " +
            (entry.revoked ? std::to_string(*entry.revoked) : "-") + " " + joined(entry.names) + "\n";
  replace_file(folder_.get(), issued_file, text, 0600);
}

std::vector<TokenEntry> CaFolder::tokens() const {
  return parse_lines<TokenEntry>(read(tokens_file), path_ + "/" + tokens_file, [](Line& line) {
    TokenEntry entry;
    const std::optional<Digest> digest = digest_from_hex(line.word());
    if (!digest) line.reject();
    entry.digest = *digest;
    entry.expires = line.time();
    Line used = line;
    if (line.word() != "-") entry.used = used.serial();
    entry.names = line.names();
    return entry;
  });
}

void CaFolder::write_tokens(const std::vector<TokenEntry>& entries) const {
  std::string text;
  for (const TokenEntry& entry : entries)
    text += to_hex(entry.digest) + " " + std::to_string(entry.expires) + " " + entry.used.value_or("-") + " " + joined(entry.names) + "\n";
  replace_file(folder_.get(), tokens_file, text, 0600);
}

void CaFolder::write_root(const Authority& authority) const { replace_file(folder_.get(), root_file, authority.certificate_pem(), 0600); }

std::string CaFolder::write_revoked(const Authority& authority, const std::vector<IssuedEntry>& entries, std::time_t now) const {
  std::vector<std::pair<std::string, std::time_t>> revoked;
  for (const IssuedEntry& entry : entries)
    if (entry.revoked && entry.to > now) revoked.emplace_back(entry.serial, *entry.revoked);
  std::string list = authority.revocation_list(revoked, now);
  replace_file(folder_.get(), revoked_file, list, 0600);
  return list;
}

}  // namespace syncropy

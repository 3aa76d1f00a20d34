#include "config/keys.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "config/credstore.hpp"
#include "config/text.hpp"
#include "model/entry.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::string_view credential_prefix = "credential:";

// Levenshtein's distance.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  for (std::size_t j = 0; j <= to.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (from[i - 1] == to[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Absolute, one slash between components, none at the end but the root's. Empty: it is not absolute, or goes up.
std::string normalise(std::string_view path) {
  if (!path.starts_with('/')) return {};
  std::string out;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view component = path.substr(at, end - at);
    at = end + 1;
    if (component.empty() || component == ".") continue;
    if (component == "..") return {};
    out += '/';
    out += component;
  }
  return out.empty() ? "/" : out;
}

bool is_credential_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

}  // namespace

Keys::Keys(const std::string& file, const std::string& folder, std::string where, const ConfigNode& node, int line, bool credentials)
    : file_(file), folder_(folder), where_(std::move(where)), node_(node), line_(line), credentials_(credentials) {
  if (node.kind != ConfigNode::Kind::map && node.kind != ConfigNode::Kind::empty)
    throw config_error(file, node.line, where_ + " must hold keys and values", "write 'key: value', indented, a line each");
}

Error Keys::error(std::string_view key, const std::string& what, std::string remedy) const {
  int line = line_;
  for (const ConfigNode::Entry& entry : node_.entries)
    if (entry.key == key) line = entry.line;
  return config_error(file_, line, what, std::move(remedy));
}

void Keys::allow(std::initializer_list<std::string_view> keys) const {
  const std::vector<std::string_view> known(keys);
  for (const ConfigNode::Entry& entry : node_.entries)
    if (std::find(known.begin(), known.end(), entry.key) == known.end())
      throw config_error(file_, entry.line, "unknown key '" + escape(entry.key) + "' in " + where_, suggest(entry.key, known));
}

std::optional<std::string> Keys::text(std::string_view key) const {
  const ConfigNode* value = node_.find(key);
  if (value == nullptr || value->kind == ConfigNode::Kind::empty) return std::nullopt;
  if (value->kind != ConfigNode::Kind::text)
    throw error(key, "'" + std::string(key) + "' takes one value, not " + (value->kind == ConfigNode::Kind::list ? "a list" : "keys and values"), "write '" + std::string(key) + ": value'");
  if (value->text.size() > limits::config_value_bytes) throw error(key, "the value of '" + std::string(key) + "' is longer than " + std::to_string(limits::config_value_bytes) + " bytes", "shorten it");
  if (value->text.empty()) return std::nullopt;
  return value->text;
}

std::string Keys::required(std::string_view key, std::string remedy) const {
  if (std::optional<std::string> value = text(key)) return *std::move(value);
  throw error(key, where_ + " has no '" + std::string(key) + "'", std::move(remedy));
}

bool Keys::boolean_or(std::string_view key, bool fallback) const {
  const std::optional<std::string> value = text(key);
  if (!value) return fallback;
  const std::string word = lower(*value);
  if (word == "yes" || word == "true" || word == "on" || word == "1") return true;
  if (word == "no" || word == "false" || word == "off" || word == "0") return false;
  throw error(key, "'" + std::string(key) + "' is yes or no, not '" + escape(*value) + "'", "write 'yes' or 'no'");
}

std::uint64_t Keys::number_or(std::string_view key, std::uint64_t fallback, std::uint64_t least, std::uint64_t most) const {
  const std::optional<std::string> value = text(key);
  if (!value) return fallback;
  const std::optional<std::uint64_t> number = number_in(*value);
  if (!number || *number < least || *number > most)
    throw error(key, "'" + std::string(key) + "' is a number from " + std::to_string(least) + " to " + std::to_string(most) + ", not '" + escape(*value) + "'", "correct it, or leave it out for " + std::to_string(fallback));
  return *number;
}

std::uint64_t Keys::size_or(std::string_view key, std::uint64_t fallback) const {
  const std::optional<std::string> value = text(key);
  if (!value) return fallback;
  std::string_view digits = *value;
  unsigned shift = 0;
  if (const std::size_t unit = std::string_view("kmgt").find(lower(digits.substr(digits.size() - 1))); unit != std::string_view::npos) {
    shift = 10 * (static_cast<unsigned>(unit) + 1);
    digits.remove_suffix(1);
  }
  const std::optional<std::uint64_t> number = number_in(digits);
  constexpr std::uint64_t most = INT64_MAX;
  if (!number || *number == 0 || *number > (most >> shift))
    throw error(key, "'" + std::string(key) + "' is a number of bytes, or of K, M, G or T, not '" + escape(*value) + "'", "write it like 500G");
  return *number << shift;
}

std::vector<std::string> Keys::list(std::string_view key) const {
  const ConfigNode* value = node_.find(key);
  std::vector<std::string> items;
  if (value == nullptr) return items;
  if (value->kind == ConfigNode::Kind::list) {
    for (const ConfigNode& item : value->items) {
      if (item.kind != ConfigNode::Kind::text || item.text.empty()) throw config_error(file_, item.line, "'" + std::string(key) + "' is a list of texts, and this item is none", "write one text an item, in quotes where needed");
      items.push_back(item.text);
    }
  } else if (const std::optional<std::string> joined = text(key)) {
    for (std::string_view rest = *joined; !rest.empty();) {
      const std::size_t end = std::min(rest.find_first_of(",\n"), rest.size());
      if (const std::string_view item = strip(rest.substr(0, end)); !item.empty()) items.emplace_back(item);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  if (items.size() > limits::config_list) throw error(key, "'" + std::string(key) + "' lists more than " + std::to_string(limits::config_list) + " values", "name folders instead of what is in them");
  for (const std::string& item : items)
    if (item.size() > limits::config_value_bytes) throw error(key, "a value of '" + std::string(key) + "' is longer than " + std::to_string(limits::config_value_bytes) + " bytes", "shorten it");
  return items;
}

std::string Keys::absolute(const std::string& name) const { return name.starts_with('/') ? name : folder_ + "/" + name; }

std::string Keys::file(std::string_view key) const {
  const std::optional<std::string> name = text(key);
  return name ? absolute(*name) : std::string();
}

std::vector<std::string> Keys::files(std::string_view key) const {
  std::vector<std::string> names = list(key);
  for (std::string& name : names) name = absolute(name);
  return names;
}

std::vector<std::string> Keys::paths(std::string_view key) const {
  std::vector<std::string> found;
  for (const std::string& path : list(key)) {
    std::string normal = normalise(path);
    if (normal.empty()) throw error(key, "'" + escape(path) + "' in '" + std::string(key) + "' is not an absolute path without '..'", "write it from / on");
    if (const char* why = normal == "/" ? nullptr : why_not_a_path(std::string_view(normal).substr(1)); why != nullptr)
      throw error(key, "the path '" + escape(path) + "' in '" + std::string(key) + "' " + why, "correct it");
    found.push_back(std::move(normal));
  }
  return outermost(std::move(found));
}

std::string Keys::absolute_or_credential(std::string_view key, const std::string& name) const {
  if (!name.starts_with(credential_prefix)) return absolute(name);
  return credentials_ ? credential_file(key, name.substr(credential_prefix.size())) : name;
}

std::string Keys::file_or_credential(std::string_view key) const {
  const std::optional<std::string> name = text(key);
  return name ? absolute_or_credential(key, *name) : std::string();
}

std::vector<std::string> Keys::files_or_credentials(std::string_view key) const {
  std::vector<std::string> names = list(key);
  for (std::string& name : names) name = absolute_or_credential(key, name);
  return names;
}

std::string Keys::credential_file(std::string_view key, const std::string& name) const {
  const std::string subject = "'" + std::string(key) + "' names the credential '" + escape(name) + "'";
  if (!is_credential_name(name)) throw error(key, "'" + escape(name) + "' in '" + std::string(key) + "' is not the name of a credential", "write 'credential:NAME' with a NAME of letters, digits, '.', '_' and '-'");
  const std::string remedy = "put it into /etc/credstore/" + name + ", or encrypted into /etc/credstore.encrypted/" + name + ".cred, and see that the unit has LoadCredential=" + name +
                             " and LoadCredentialEncrypted=" + name + ".cred; by hand root finds it there too, and everybody else in the folder that CREDENTIALS_DIRECTORY names";
  const char* folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr && ::geteuid() == 0) {
    try {
      if (std::optional<std::string> file = credential_in_store(name)) return *std::move(file);
    } catch (const Error& failed) {
      throw error(key, subject + ": " + failed.what(), failed.remedy());
    }
  }
  if (folder == nullptr || *folder != '/') throw error(key, subject + ", but the service manager passed none", remedy);
  const std::string plain = std::string(folder) + "/" + name, decrypted = plain + ".cred";
  const bool has_plain = ::access(plain.c_str(), R_OK) == 0, has_decrypted = ::access(decrypted.c_str(), R_OK) == 0;
  if (has_plain && has_decrypted) throw error(key, subject + ", of which there is a plain one and an encrypted one", "remove the one that is not meant from /etc/credstore or /etc/credstore.encrypted");
  if (!has_plain && !has_decrypted) throw error(key, subject + ", which is not there or cannot be read", remedy);
  return has_plain ? plain : decrypted;
}

std::string Keys::secret(std::string_view key) const {
  const std::string value = text_or(key, {});
  if (!value.starts_with(credential_prefix) || !credentials_) return value;
  const std::string name = value.substr(credential_prefix.size());
  const std::string file = credential_file(key, name);
  const Fd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throw error(key, "'" + std::string(key) + "' names the credential '" + name + "', which cannot be read", "look at " + escape(file));
  std::string secret = read_all(fd.get(), limits::config_value_bytes, ExitStatus::config, "credential " + name);
  if (secret.ends_with('\n')) secret.pop_back();
  if (secret.find('\0') != std::string::npos || secret.empty()) throw error(key, "the credential '" + name + "' is empty or has a NUL byte in it", "make it anew: systemd.exec(5), LoadCredential=");
  return secret;
}

std::vector<std::string> outermost(std::vector<std::string> found) {
  auto relative = [](const std::string& path) { return std::string_view(path).substr(1); };
  std::sort(found.begin(), found.end(), [&](const std::string& a, const std::string& b) { return compare_paths(relative(a), relative(b)) < 0; });
  std::vector<std::string> outer;
  for (std::string& path : found) {
    const bool inside = !outer.empty() && (outer.back() == "/" || path == outer.back() || path.starts_with(outer.back() + "/"));
    if (!inside) outer.push_back(std::move(path));
  }
  return outer;
}

std::string suggest(std::string_view name, const std::vector<std::string_view>& known) {
  std::string_view nearest;
  std::size_t least = std::min<std::size_t>(3, name.size() / 2 + 1);
  for (const std::string_view candidate : known) {
    if (candidate.size() > name.size() + 3 || name.size() > candidate.size() + 3) continue;
    if (const std::size_t far = distance(lower(name), candidate); far < least) {
      least = far;
      nearest = candidate;
    }
  }
  if (!nearest.empty()) return "did you mean '" + std::string(nearest) + "'?";
  std::string all;
  for (const std::string_view candidate : known) all += (all.empty() ? "" : ", ") + std::string(candidate);
  return "known here are " + all;
}

std::string folder_of(const std::string& file) { return std::filesystem::absolute(file).lexically_normal().parent_path().string(); }

OwnCertificate own_certificate(const Keys& keys) {
  const std::string certificate = keys.file_or_credential("sslcert"), key = keys.file_or_credential("sslkey"), both = keys.file_or_credential("sslpem");
  OwnCertificate own{certificate.empty() ? both : certificate, key};
  // A key without a file of its own stands with the certificate, in sslpem first.
  if (own.key.empty()) own.key = both.empty() ? certificate : both;
  return own;
}

std::string revocation_list(const Keys& keys) {
  if (std::string named = keys.file_or_credential("sslcrl"); !named.empty()) {
    if (keys.list("sslca").empty()) throw keys.error("sslcrl", "'sslcrl' lists what a CA has revoked, and there is no 'sslca'", "add 'sslca', or leave 'sslcrl' out");
    return named;
  }
  const std::string authority = keys.text_or("sslca", {});
  if (authority.empty() || authority.starts_with(credential_prefix)) return {};
  std::string beside = std::filesystem::path(keys.file("sslca")).replace_extension(".crl").string();
  return ::access(beside.c_str(), F_OK) == 0 ? beside : std::string();
}

}  // namespace syncropy

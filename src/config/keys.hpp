#pragma once
// Reads the values of one section by key, with their types and ranges, and knows which keys there are.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"

namespace syncropy {

// How long lists and texts of a configuration may be.
namespace limits {
inline constexpr std::size_t config_value_bytes = 65'536;
inline constexpr std::size_t config_list = 1'000;
}  // namespace limits

class Keys {
 public:
  // `where` names the section in messages: "section 'database'", "client 'web1'". `node` may be empty (no keys), else must be a map
  // (Error otherwise). `folder` is what relative file names are relative to. All three stay the caller's. Without
  // `credentials` a `credential:NAME` is given back as it is.
  Keys(const std::string& file, const std::string& folder, std::string where, const ConfigNode& node, int line, bool credentials = true);

  // Every key that may stand here; an unknown one is an Error with the nearest known name. Call it first.
  void allow(std::initializer_list<std::string_view> keys) const;

  // None where the key is missing or has no value.
  [[nodiscard]] std::optional<std::string> text(std::string_view key) const;
  [[nodiscard]] std::string text_or(std::string_view key, std::string fallback) const { return text(key).value_or(std::move(fallback)); }
  [[nodiscard]] std::string required(std::string_view key, std::string remedy) const;
  [[nodiscard]] bool boolean_or(std::string_view key, bool fallback) const;
  [[nodiscard]] std::uint64_t number_or(std::string_view key, std::uint64_t fallback, std::uint64_t least, std::uint64_t most) const;
  // Like number_or, and K, M, G, T may follow (powers of 1,024).
  [[nodiscard]] std::uint64_t size_or(std::string_view key, std::uint64_t fallback) const;
  // A list, or one text that commas and line ends divide.
  [[nodiscard]] std::vector<std::string> list(std::string_view key) const;
  // A file or folder, absolute, "" where there is none.
  [[nodiscard]] std::string file(std::string_view key) const;
  [[nodiscard]] std::vector<std::string> files(std::string_view key) const;
  // The same, and `credential:NAME` is the file of that credential. Throws Error(config) where the service manager passed none of that name.
  [[nodiscard]] std::string file_or_credential(std::string_view key) const;
  [[nodiscard]] std::vector<std::string> files_or_credentials(std::string_view key) const;
  // Absolute paths of another machine or of this one: normalised, sorted, none inside another.
  [[nodiscard]] std::vector<std::string> paths(std::string_view key) const;
  // A secret in itself, or `credential:NAME`: what that credential holds, without its final newline.
  [[nodiscard]] std::string secret(std::string_view key) const;

  // "FILE:LINE: WHAT" at the line of `key`, or of the section where there is none.
  [[nodiscard]] Error error(std::string_view key, const std::string& what, std::string remedy) const;
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  [[nodiscard]] std::string absolute(const std::string& name) const;
  [[nodiscard]] std::string absolute_or_credential(std::string_view key, const std::string& name) const;
  // The file of a credential beneath $CREDENTIALS_DIRECTORY (systemd.exec(5)): NAME, or NAME.cred. Two names, because systemd 252 takes one
  // of LoadCredential= and LoadCredentialEncrypted= for a name, and fails where the file in its credstore is of the other kind. Where nobody
  // passes any, root finds them in the credstores itself.
  [[nodiscard]] std::string credential_file(std::string_view key, const std::string& name) const;

  const std::string& file_;
  const std::string& folder_;
  std::string where_;
  const ConfigNode& node_;
  int line_;
  bool credentials_;
};

// Absolute, normalised paths: sorted, and without those that lie in another.
[[nodiscard]] std::vector<std::string> outermost(std::vector<std::string> paths);

// ", did you mean 'x'?" or "known are a, b, c": the remedy for a name that is none of `known`.
[[nodiscard]] std::string suggest(std::string_view name, const std::vector<std::string_view>& known);

// The folder that relative names in `file` are relative to.
[[nodiscard]] std::string folder_of(const std::string& file);

// Own certificate and key by sslcert, sslkey and sslpem; empty where none is named.
struct OwnCertificate {
  std::string certificate, key;
};
[[nodiscard]] OwnCertificate own_certificate(const Keys& keys);

// The list of what the CA has revoked: sslcrl, else the file beside sslca that is called like it with the ending .crl, where there is one;
// "" where there is none.
[[nodiscard]] std::string revocation_list(const Keys& keys);

}  // namespace syncropy

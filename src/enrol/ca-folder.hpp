#pragma once
// The folder of a CA (/var/lib/syncropy-ca): its key, and what it has issued and promised. Every file of it is built and parsed here.
//
//   ca.key ca.crt ca.crl   the root's key, its certificate, what it has revoked; PEM
//   servers                the names of the backup server, one a line: what its certificates carry
//   issued                 one certificate a line: SERIAL PART FROM TO REVOKED NAME[,NAME...]
//   tokens                 one token a line: DIGEST EXPIRES CERTIFICATE NAME[,NAME...]
//   lock                   held (flock) by whoever works here
//
// Times are seconds since 1970 UTC; `-` stands for none. A file is replaced as a whole, so what a crash can leave is one of them newer than
// another: a certificate that is noted in `issued` while its token is not yet marked as used was never handed out.

#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "transport/authority.hpp"
#include "util/digest.hpp"
#include "util/fd.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::size_t ca_file_bytes = 64U << 20;  // of `issued` and `tokens`
inline constexpr std::size_t open_tokens = 10'000;
inline constexpr std::size_t issued_certificates = 200'000;
}  // namespace limits

struct IssuedEntry {
  std::string serial;
  Part part = Part::agent;  // never enrolment: those live for a day, and nobody keeps them
  std::time_t from = 0, to = 0;
  std::optional<std::time_t> revoked{};
  std::vector<std::string> names{};  // the first is what `syncropy enroll` was told
};

struct TokenEntry {
  Digest digest{};                  // digest_of_secret
  std::time_t expires = 0;
  std::optional<std::string> used{};  // the serial of the certificate that it was good for
  std::vector<std::string> names{};
};

class CaFolder {
 public:
  // Makes the folder, with a root, for a server of these names. Throws Error(conflict) where there is a CA already.
  static void make(const std::string& folder, const Authority& authority, const std::vector<std::string>& servers);

  // Opens it, and holds its lock until this object goes. Throws Error: no_input (there is none), refused (it is somebody else's, or others may
  // look into it), busy (the lock was held for ten seconds).
  explicit CaFolder(const std::string& folder);

  [[nodiscard]] Authority authority() const;
  [[nodiscard]] std::vector<std::string> servers() const;
  // In the order of their making. Throws Error(data), naming file and line, for what cannot be read.
  [[nodiscard]] std::vector<IssuedEntry> issued() const;
  [[nodiscard]] std::vector<TokenEntry> tokens() const;

  void write_issued(const std::vector<IssuedEntry>& entries) const;
  void write_tokens(const std::vector<TokenEntry>& entries) const;
  void write_root(const Authority& authority) const;
  // The revocation list that `entries` come to; returns it too.
  std::string write_revoked(const Authority& authority, const std::vector<IssuedEntry>& entries, std::time_t now) const;

 private:
  [[nodiscard]] std::string read(const std::string& name) const;

  std::string path_;
  Fd folder_, lock_;
};

}  // namespace syncropy

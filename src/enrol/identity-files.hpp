#pragma once
// Where a machine's key and certificates lie, on the server and on a client alike, and how they get there: never half, never readable for
// others for a moment, and what a person put there is not lost.
//
//   KEY_FILE          key and certificate in one file (`sslpem`), so that a renewal replaces both in one step; 0600. Where a person has put it into
//                     /etc/credstore.encrypted instead, it is encrypted again, and stays there.
//   FOLDER/NAME.crt   the certificate once more, for people
//   FOLDER/ca.crt     the root; FOLDER/ca.crl what it has revoked. A client's are called agent-ca.*: a server that is its own client has both,
//                     and its lists are not the same.

#include <optional>
#include <string>

#include "enrol/ca.hpp"
#include "util/file.hpp"

namespace syncropy {

struct IdentityPlace {
  std::string name;                 // "agent" or "server"
  std::string folder;               // absolute
  std::string key_file;             // absolute
  std::optional<FileOwner> owner;   // of the key; else who writes it
  bool credential = false;          // systemd hands the key over by its name

  // Of a credential: where it lies instead, when it is kept encrypted.
  [[nodiscard]] std::string encrypted_file() const;
  [[nodiscard]] bool is_encrypted() const;
  // The one of the two that is there, or is to be.
  [[nodiscard]] std::string kept_in() const { return is_encrypted() ? encrypted_file() : key_file; }
  // Where this process can read key and certificate: KEY_FILE, or a decrypted copy in memory. Throws Error(config).
  [[nodiscard]] std::string readable() const;
  // What a configuration says for it: "credential:syncropy-agent.key", or the file.
  [[nodiscard]] std::string setting() const;
  [[nodiscard]] std::string certificate_file() const { return folder + "/" + name + ".crt"; }
  [[nodiscard]] std::string root_file() const { return folder + (name == "agent" ? "/agent-ca.crt" : "/ca.crt"); }
  [[nodiscard]] std::string revoked_file() const { return folder + (name == "agent" ? "/agent-ca.crl" : "/ca.crl"); }
};

// The key in /etc/credstore, the rest in `keys` of the folder of configurations.
[[nodiscard]] IdentityPlace system_place(const std::string& name);
// Everything in one folder, for machines without systemd.
[[nodiscard]] IdentityPlace place_in(const std::string& folder, const std::string& name, std::optional<FileOwner> owner);

// Makes the folders where they are missing, and throws Error where what write_identity writes could not be written, or not be encrypted: before
// anything is asked for that cannot be asked for twice.
void prepare_place(const IdentityPlace& place);
// `keep_old`: what is there already goes to NAME.old first. Otherwise it is replaced, the key file in one step.
void write_identity(const IdentityPlace& place, const Identity& identity, bool keep_old);

// Whether both files (PEM) are roots of one CA: of the same key. False where one cannot be read.
[[nodiscard]] bool is_same_root(const std::string& left, const std::string& right);

// For other files that lie beside: makes the folder and throws Error where it cannot be written; keeps FILE, where it is there, as FILE.old, or
// FILE.old2 and so on, for nothing that was kept before is lost either; replaces FILE, which everybody may read, in one step.
void prepare_file(const std::string& file);
void set_aside(const std::string& file);
void write_file(const std::string& file, const std::string& text);

}  // namespace syncropy

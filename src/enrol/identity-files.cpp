#include "enrol/identity-files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "config/credstore.hpp"
#include "config/settings.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

constexpr const char *credstore = "/etc/credstore", *encrypted_store = ".encrypted", *encrypted_suffix = ".cred";
constexpr std::size_t pem_bytes = 1U << 20;
constexpr unsigned most_kept = 1'000;

std::string folder_part(const std::string& file) { return std::filesystem::path(file).parent_path().string(); }
std::string name_part(const std::string& file) { return std::filesystem::path(file).filename().string(); }

bool is_there(const std::string& file) {
  struct stat st{};
  return ::lstat(file.c_str(), &st) == 0;
}

// One level and those above it, each with this mode.
void make_folder(const std::string& folder, mode_t mode) {
  if (folder.empty() || is_there(folder)) return;
  make_folder(folder_part(folder), 0755);
  if (::mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) throw_errno(ExitStatus::io, "make the folder", folder, "run this as root, or name another place with --keys FOLDER");
}

Fd open_folder(const std::string& folder) {
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno(ExitStatus::io, "open the folder", folder);
  return fd;
}

void put_file(const std::string& file, const std::string& bytes, unsigned mode, std::optional<FileOwner> owner = {}) {
  const Fd folder = open_folder(folder_part(file));
  replace_file(folder.get(), name_part(file), bytes, mode, owner);
}

// As it is in the place: for the same name, and by the same kind of key.
std::string encrypted(const std::string& bytes, const IdentityPlace& place) {
  const std::string file = place.encrypted_file();
  return encrypted_credential(bytes, name_part(file), read_file(AT_FDCWD, file, limits::encrypted_credential_bytes, ExitStatus::config));
}

}  // namespace

std::string IdentityPlace::encrypted_file() const { return folder_part(key_file) + encrypted_store + "/" + name_part(key_file) + encrypted_suffix; }

bool IdentityPlace::is_encrypted() const { return credential && is_there(encrypted_file()); }

std::string IdentityPlace::readable() const { return is_encrypted() ? credential_in_store(name_part(key_file), folder_part(key_file), folder_part(encrypted_file())).value() : key_file; }

std::string IdentityPlace::setting() const { return credential ? "credential:" + name_part(key_file) : key_file; }

IdentityPlace system_place(const std::string& name) { return {name, config_folder() + "/keys", std::string(credstore) + "/syncropy-" + name + ".key", {}, true}; }

IdentityPlace place_in(const std::string& folder, const std::string& name, std::optional<FileOwner> owner) {
  std::string absolute = std::filesystem::absolute(folder).lexically_normal().string();
  while (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  return {name, absolute, absolute + "/" + name + ".key", owner, false};
}

void prepare_place(const IdentityPlace& place) {
  make_folder(place.folder, 0755);
  if (place.is_encrypted()) {
    if (is_there(place.key_file)) throw Error(ExitStatus::conflict, "there are both " + escape(place.key_file) + " and " + escape(place.encrypted_file()), "remove the one that is not meant");
    static_cast<void>(encrypted("an attempt", place));
  } else {
    make_folder(folder_part(place.key_file), place.credential ? 0700 : 0755);
  }
  for (const std::string& folder : {place.folder, folder_part(place.kept_in())})
    if (::access(folder.c_str(), W_OK | X_OK) != 0) throw_errno(ExitStatus::io, "write to", folder, "run this as root, or name another place with --keys FOLDER");
}

void write_identity(const IdentityPlace& place, const Identity& identity, bool keep_old) {
  const std::string key_file = place.kept_in();
  std::string both = identity.key + identity.certificate;
  if (place.is_encrypted()) {
    const std::string text = encrypted(both, place);
    wipe(both);
    both = text;
  }
  if (keep_old)
    for (const std::string& file : {key_file, place.certificate_file(), place.root_file(), place.revoked_file()}) set_aside(file);
  put_file(key_file, both, 0600, place.owner);
  wipe(both);
  put_file(place.certificate_file(), identity.certificate, 0644);
  put_file(place.root_file(), identity.root, 0644);
  if (!identity.revoked.empty()) write_file(place.revoked_file(), identity.revoked);
}

bool is_same_root(const std::string& left, const std::string& right) {
  try {
    auto key_of = [](const std::string& file) { return facts_of_certificate(der_of_certificate(read_file(AT_FDCWD, file, pem_bytes, ExitStatus::config), file)).key_id; };
    return key_of(left) == key_of(right);
  } catch (const Error&) {
    return false;
  }
}

void prepare_file(const std::string& file) {
  const std::string folder = folder_part(std::filesystem::absolute(file).string());
  make_folder(folder, 0755);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) throw_errno(ExitStatus::io, "write to", folder, "run this as root");
}

void set_aside(const std::string& file) {
  if (!is_there(file)) return;
  for (unsigned i = 1; i <= most_kept; ++i) {
    const std::string kept = file + ".old" + (i == 1 ? "" : std::to_string(i));
    if (is_there(kept)) continue;
    if (::rename(file.c_str(), kept.c_str()) != 0) throw_errno(ExitStatus::io, "set aside", file);
    return;
  }
  throw Error(ExitStatus::io, escape(file) + " has been set aside " + std::to_string(most_kept) + " times", "remove what is not needed of " + escape(file) + ".old*");
}

void write_file(const std::string& file, const std::string& text) { put_file(std::filesystem::absolute(file).string(), text, 0644); }

}  // namespace syncropy

#include "config/credstore.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <map>
#include <mutex>
#include <vector>

#include "config/keys.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"
#include "util/spawn.hpp"

namespace syncropy {
namespace {

// Its errors are shown, and not its warning, each time, that its own key lies on a disk.
std::vector<std::string> systemd_creds(std::initializer_list<std::string> words) {
  std::vector<std::string> all{"env", "SYSTEMD_LOG_LEVEL=err", "systemd-creds"};
  all.insert(all.end(), words);
  return all;
}

bool is_there(const std::string& file) { return ::access(file.c_str(), F_OK) == 0; }

void copy(const std::string& file, int to) {
  const Fd from(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!from) throw_errno(ExitStatus::config, "open", file);
  write_all(to, read_all(from.get(), limits::config_value_bytes, ExitStatus::config, file), "a copy in memory of " + escape(file));
}

void decrypt(const std::string& file, const std::string& name, int to) {
  if (!run_to_success(systemd_creds({"decrypt", "--name=" + name, file, "-"}), -1, to))
    throw Error(ExitStatus::config, "systemd-creds could not decrypt " + escape(file),
                "it is decrypted on the machine that it was encrypted on, and under the name '" + escape(name) + "' alone; make it anew from the original");
}

Fd file_in_memory() {
  Fd memory(::memfd_create("credential", MFD_CLOEXEC));
  if (!memory) throw_errno(ExitStatus::internal, "make", "a file in memory");
  return memory;
}

// What systemd-creds 252 has a credential begin with, in Base64: an identifier of the key. Another one leaves the choice to systemd-creds.
std::string_view key_of(std::string_view encrypted) {
  if (encrypted.starts_with("Whxqht+dQJax1aZeCGLxm")) return "host";
  if (encrypted.starts_with("DHzAexF2RZGcSwvqCLwg/")) return "tpm2";
  if (encrypted.starts_with("k6iUCUh0RJCQyvL8k8q1U")) return "host+tpm2";
  return "auto";
}

}  // namespace

std::optional<std::string> credential_in_store(const std::string& name, const std::string& plain, const std::string& encrypted) {
  static std::mutex mutex;
  static std::map<std::string, Fd> in_memory;
  const std::lock_guard lock(mutex);
  const std::string plain_file = plain + "/" + name, encrypted_file = encrypted + "/" + name + ".cred";
  Fd& copied = in_memory[plain_file];
  if (!copied) {
    const bool has_plain = is_there(plain_file), has_encrypted = is_there(encrypted_file);
    if (!has_plain && !has_encrypted) return std::nullopt;
    if (has_plain && has_encrypted)
      throw Error(ExitStatus::config, "there are both " + escape(plain_file) + " and " + escape(encrypted_file), "remove the one that is not meant");
    Fd memory = file_in_memory();
    if (has_plain) copy(plain_file, memory.get());
    else decrypt(encrypted_file, name + ".cred", memory.get());
    copied = std::move(memory);
  }
  return "/proc/self/fd/" + std::to_string(copied.get());
}

std::string encrypted_credential(const std::string& bytes, const std::string& name, std::string_view like) {
  const Fd plain = file_in_memory(), encrypted = file_in_memory();
  write_all(plain.get(), bytes, "a file in memory");
  if (::lseek(plain.get(), 0, SEEK_SET) != 0) throw_errno(ExitStatus::internal, "rewind", "a file in memory");
  if (!run_to_success(systemd_creds({"encrypt", "--with-key=" + std::string(key_of(like)), "--name=" + name, "-", "-"}), plain.get(), encrypted.get()))
    throw Error(ExitStatus::config, "systemd-creds could not encrypt '" + escape(name) + "'", "see what it says; where it cannot be mended, decrypt the key that is there into /etc/credstore, and remove the encrypted one");
  if (::lseek(encrypted.get(), 0, SEEK_SET) != 0) throw_errno(ExitStatus::internal, "rewind", "a file in memory");
  std::string text = read_all(encrypted.get(), limits::encrypted_credential_bytes, ExitStatus::config, "what systemd-creds made of " + name);
  if (text.empty()) throw Error(ExitStatus::config, "systemd-creds made nothing of '" + escape(name) + "'", "see what it says");
  return text;
}

}  // namespace syncropy

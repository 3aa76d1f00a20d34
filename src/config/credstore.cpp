#include "config/credstore.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <vector>

#include "config/keys.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr const char* decrypts = "systemd-creds";

bool is_there(const std::string& file) { return ::access(file.c_str(), F_OK) == 0; }

void copy(const std::string& file, int to) {
  const Fd from(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!from) throw_errno(ExitStatus::config, "open", file);
  write_all(to, read_all(from.get(), limits::config_value_bytes, ExitStatus::config, file), "a copy in memory of " + escape(file));
}

void decrypt(const std::string& file, const std::string& name, int to) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::vector<std::string> words{decrypts, "decrypt", "--name=" + name, file, "-"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int code = ::posix_spawnp(&child, decrypts, &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  int status = 0;
  if (code == 0)
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (code != 0 || status != 0)
    throw Error(ExitStatus::config, "systemd-creds could not decrypt " + escape(file),
                "it is decrypted on the machine that it was encrypted on, and under the name '" + escape(name) + "' alone; make it anew from the original");
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
    Fd memory(::memfd_create("credential", MFD_CLOEXEC));
    if (!memory) throw_errno(ExitStatus::internal, "make", "a file in memory");
    if (has_plain) copy(plain_file, memory.get());
    else decrypt(encrypted_file, name + ".cred", memory.get());
    copied = std::move(memory);
  }
  return "/proc/self/fd/" + std::to_string(copied.get());
}

}  // namespace syncropy

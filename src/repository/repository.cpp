#include "repository/repository.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::string_view format_magic = "syncropy repository 1\n";
constexpr const char* own_folder = ".syncropy";
constexpr const char* draft_folder = ".syncropy-new";
constexpr const char* format_file = ".syncropy/format";

std::string random_id() {
  Digest bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) throw_errno(ExitStatus::internal, "draw", "random bytes");
  return to_hex(bytes).substr(0, 32);
}

Fd open_root(const std::string& path) {
  Fd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root)
    throw_errno(ExitStatus::repository, "open the repository", path,
                errno == ENOENT ? "mount it if it should be there, or make it with 'syncropy init'" : "it must be a folder that this user may enter");
  return root;
}

}  // namespace

void Repository::create(const std::string& path, const std::optional<Account>& owner) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    throw_errno(ExitStatus::repository, "make the repository", path,
                errno == ENOENT ? "make its parent folder first" : "make the folder by hand and give it to this user");
  const Fd root = open_root(path);
  const std::vector<std::string> names = names_in(root.get());
  if (std::find(names.begin(), names.end(), own_folder) != names.end())
    throw Error(ExitStatus::repository, escape(path) + " is a repository already", "nothing needs to be done");
  if (std::any_of(names.begin(), names.end(), [](const std::string& name) { return name != "lost+found" && name != draft_folder; }))
    throw Error(ExitStatus::repository, escape(path) + " is not empty", "name an empty or a new folder for the repository");
  if (owner && ::fchown(root.get(), owner->user, owner->group) != 0) throw_errno(ExitStatus::repository, "give away", path);
  std::optional<ActingAs> acting;
  if (owner) acting.emplace(*owner);
  // The format file arrives by one rename of its finished folder: a repository is one or is not.
  const std::string draft = draft_folder;
  remove_tree(root.get(), draft);
  if (::mkdirat(root.get(), draft.c_str(), 0700) != 0)
    throw_errno(ExitStatus::repository, "write to the repository", path, "give the folder to the user that runs the server");
  create_file(root.get(), draft + "/format", std::string(format_magic) + "id " + random_id() + "\n", 0400);
  if (::syncfs(root.get()) != 0) throw_errno(ExitStatus::io, "sync", path);
  if (::renameat(root.get(), draft.c_str(), root.get(), own_folder) != 0) throw_errno(ExitStatus::io, "make", path + "/" + own_folder);
  if (::fsync(root.get()) != 0) throw_errno(ExitStatus::io, "sync", path);
}

Repository Repository::open(const std::string& path, bool writable) {
  Fd root = open_root(path);
  std::string format;
  try {
    format = read_file(root.get(), format_file, 4'096, ExitStatus::repository);
  } catch (const SystemError& error) {
    if (error.code() == ENOENT)
      throw Error(ExitStatus::repository, escape(path) + " is not a Syncropy repository (it has no .syncropy/format)",
                  "mount the disk that should be there, or make a new one with 'syncropy init'");
    throw Error(ExitStatus::repository, "cannot read " + escape(path) + "/.syncropy/format (" + error.what() + ")",
                "run as the user that owns the repository, or give it to this one, whole");
  }
  if (!format.starts_with(format_magic)) {
    const std::string first_line = format.substr(0, format.find('\n'));
    throw Error(ExitStatus::repository, escape(path) + " has the format '" + escape(first_line) + "', this program knows 'syncropy repository 1'",
                "use the version of Syncropy that made it, or a later one");
  }
  const std::size_t id_at = format_magic.size() + 3;
  std::string id = format.size() > id_at ? format.substr(id_at, format.find('\n', id_at) - id_at) : "";
  if (writable && ::faccessat(root.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
    throw_errno(ExitStatus::repository, "write to the repository", path, "run as the user that owns it, or give it to this one");
  return Repository(std::move(root), path, std::move(id), writable);
}

ClientStore Repository::client(const std::string& name) const {
  if (!is_client_name(name))
    throw Error(ExitStatus::usage, "'" + escape(name) + "' cannot be a client's name", "use letters, digits, '.', '_' and '-'");
  if (writable_ && ::mkdirat(root_.get(), name.c_str(), 0700) != 0 && errno != EEXIST)
    throw_errno(ExitStatus::repository, "make the folder of client", name, "the repository must be writable by this user");
  Fd folder(::openat(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) {
    if (errno == ENOENT)
      throw Error(ExitStatus::no_input, "the repository " + escape(path_) + " holds no client '" + name + "'", "'syncropy list' shows what it holds");
    throw_errno(ExitStatus::repository, "open the folder of client", name, "run as the user that owns the repository");
  }
  if (writable_ && ::fsync(root_.get()) != 0) throw_errno(ExitStatus::io, "sync", path_);
  return ClientStore(std::move(folder), name, path_ + "/" + name);
}

std::vector<std::string> Repository::clients() const {
  std::vector<std::string> names = names_in(root_.get());
  std::erase_if(names, [this](const std::string& name) {
    struct stat st{};
    return !is_client_name(name) || name == "lost+found" || ::fstatat(root_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 ||
           !S_ISDIR(st.st_mode);
  });
  return names;
}

}  // namespace syncropy

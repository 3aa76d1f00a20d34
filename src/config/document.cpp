#include "config/document.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "util/escape.hpp"

namespace syncropy {

const ConfigNode* ConfigNode::find(std::string_view key) const {
  for (const Entry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

Fd open_config(const std::string& file, std::string_view page) {
  // Symbolic links are followed: configurations are often reached through them.
  Fd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) throw_errno(ExitStatus::no_input, "read the configuration", file, "check the name, or write it: " + std::string(page));
  if (!fd) throw_errno(ExitStatus::config, "read the configuration", file, "make it readable for the user that this program runs as");
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) throw_errno(ExitStatus::config, "look at", file);
  if (!S_ISREG(st.st_mode)) throw Error(ExitStatus::config, escape(file) + " is not a regular file", "name a configuration file");
  return fd;
}

bool looks_like_ini(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  while (!text.empty()) {
    const std::size_t start = text.find_first_not_of(" \t\r\n\f\v");
    if (start == std::string_view::npos) return false;
    text.remove_prefix(start);
    if (text[0] != '#' && text[0] != ';') return text[0] == '[';
    text.remove_prefix(std::min(text.find('\n'), text.size()));
  }
  return false;
}

Error config_error(const std::string& file, int line, const std::string& what, std::string remedy) {
  return Error(ExitStatus::config, escape(file) + ":" + std::to_string(line) + ": " + what, std::move(remedy));
}

}  // namespace syncropy

#include "model/entry.hpp"

#include <algorithm>

#include "model/limits.hpp"

namespace syncropy {

char letter_of(FileType type) {
  switch (type) {
    case FileType::regular: return '-';
    case FileType::folder: return 'd';
    case FileType::symlink: return 'l';
    case FileType::block_device: return 'b';
    case FileType::character_device: return 'c';
    case FileType::fifo: return 'p';
    case FileType::socket: return 's';
  }
  return '?';
}

std::strong_ordering compare_paths(std::string_view left, std::string_view right) {
  const auto [l, r] = std::mismatch(left.begin(), left.end(), right.begin(), right.end());
  if (l == left.end() || r == right.end()) return left.size() <=> right.size();
  auto rank = [](char c) { return c == '/' ? 0 : static_cast<unsigned char>(c); };
  return rank(*l) <=> rank(*r);
}

const char* why_not_a_path(std::string_view path) {
  if (path.empty()) return nullptr;
  if (path.size() > limits::path_bytes) return "is longer than 65,535 bytes";
  if (path.find('\0') != std::string_view::npos) return "holds a NUL byte";
  std::size_t depth = 0;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view component = path.substr(at, end - at);
    if (component.empty()) return "has an empty component";
    if (component == "." || component == "..") return "has a component '.' or '..'";
    if (component.size() > limits::name_bytes) return "has a component longer than 255 bytes";
    if (++depth > limits::path_depth) return "is more than 1,000 components deep";
    at = end + 1;
  }
  return nullptr;
}

std::string_view parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

std::string_view name_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool is_below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && (folder.empty() || path[folder.size()] == '/');
}

bool same_listing(const Stat& left, const Stat& right) {
  return left.type == right.type && left.size == right.size && left.mtime == right.mtime && left.ctime == right.ctime &&
         left.inode == right.inode;
}

}  // namespace syncropy

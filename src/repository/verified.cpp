#include <charconv>

#include "repository/repository.hpp"
#include "util/error.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr const char* verified_file = ".verified";
constexpr std::size_t verified_file_bytes = 32;

}  // namespace

std::uint64_t ClientStore::verified_up_to() const {
  try {
    const std::string text = read_file(folder_.get(), verified_file, verified_file_bytes, ExitStatus::data);
    std::uint64_t position = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), position, 16);
    return error == std::errc() && std::string_view(end, text.data() + text.size()) == "\n" ? position : 0;
  } catch (const Error&) {
    return 0;  // a round begins anew: nothing is lost by that
  }
}

void ClientStore::set_verified_up_to(std::uint64_t position) const {
  char digits[17] = {};
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, position, 16);
  static_cast<void>(error);
  replace_file(folder_.get(), verified_file, std::string(digits, end) + "\n", 0600);
}

}  // namespace syncropy

#include "restore/accounts.hpp"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <vector>

namespace syncropy {
namespace {

constexpr std::size_t remembered_numbers = 65'536;
constexpr std::size_t account_record_bytes = 1U << 20;  // a group with very many members

using Look = std::optional<std::uint32_t> (*)(const std::string&);

std::optional<std::uint32_t> as_number(const std::string& text) {
  std::uint32_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// `ask(buffer, number)` is getpwnam_r or getgrnam_r for one name: sets `number`, returns 0 or an errno.
template <typename Ask>
std::optional<std::uint32_t> looked_up(Ask ask) {
  std::optional<std::uint32_t> number;
  std::vector<char> buffer(4'096);
  for (int code; (code = ask(buffer, number)) != 0;) {
    if (code == EINTR) continue;
    if (code != ERANGE || buffer.size() >= account_record_bytes) break;
    buffer.resize(buffer.size() * 4);
  }
  return number;
}

std::optional<std::uint32_t> look_up_user(const std::string& name) {
  return looked_up([&](std::vector<char>& buffer, std::optional<std::uint32_t>& number) {
    passwd record{};
    passwd* found = nullptr;
    const int code = ::getpwnam_r(name.c_str(), &record, buffer.data(), buffer.size(), &found);
    if (found != nullptr) number = found->pw_uid;
    return code;
  });
}

std::optional<std::uint32_t> look_up_group(const std::string& name) {
  return looked_up([&](std::vector<char>& buffer, std::optional<std::uint32_t>& number) {
    ::group record{};
    ::group* found = nullptr;
    const int code = ::getgrnam_r(name.c_str(), &record, buffer.data(), buffer.size(), &found);
    if (found != nullptr) number = found->gr_gid;
    return code;
  });
}

std::uint32_t number_of(const std::string& name, std::uint32_t number, const std::vector<AccountMapping>& mappings, bool numeric, Look look_up) {
  for (const AccountMapping& mapping : mappings) {
    if (mapping.from.empty() || (mapping.from != name && as_number(mapping.from) != number)) continue;
    std::optional<std::uint32_t> to = as_number(mapping.to);
    if (!to) to = look_up(mapping.to);
    if (to) return *to;
  }
  if (numeric || name.empty()) return number;
  return look_up(name).value_or(number);
}

template <typename Numbers>
std::uint32_t remembered(Numbers& table, const std::string& name, std::uint32_t number, const std::vector<AccountMapping>& mappings, bool numeric, Look look_up) {
  std::string key = std::to_string(number) + ' ' + name;
  if (const auto known = table.find(key); known != table.end()) return known->second;
  if (table.size() >= remembered_numbers) table.clear();
  return table.emplace(std::move(key), number_of(name, number, mappings, numeric, look_up)).first->second;
}

}  // namespace

std::uint32_t Accounts::user(const std::string& name, std::uint32_t number) {
  return remembered(users_, name, number, rules_.users, rules_.numeric, look_up_user);
}

std::uint32_t Accounts::group(const std::string& name, std::uint32_t number) {
  return remembered(groups_, name, number, rules_.groups, rules_.numeric, look_up_group);
}

}  // namespace syncropy

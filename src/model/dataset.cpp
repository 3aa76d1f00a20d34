#include "model/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <ctime>

#include "util/error.hpp"

namespace syncropy {
namespace {

constexpr std::size_t stamp_length = 18;  // 2026-11-22T190500Z
constexpr std::uint64_t highest_suffix = INT64_MAX - 1;

std::tm utc(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  if (::gmtime_r(&time, &parts) == nullptr || parts.tm_year + 1900 < 1 || parts.tm_year + 1900 > 9999)
    throw Error(ExitStatus::internal, "the clock shows a year outside 1 to 9999", "set the clock of this machine");
  return parts;
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string_view name_of(Tier tier) {
  switch (tier) {
    case Tier::hour: return "hour";
    case Tier::day: return "day";
    case Tier::week: return "week";
    case Tier::month: return "month";
  }
  throw Error(ExitStatus::internal, "a tier of unknown number " + std::to_string(static_cast<int>(tier)));
}

std::optional<Tier> tier_from_name(std::string_view name) {
  for (Tier tier : all_tiers)
    if (name_of(tier) == name) return tier;
  return std::nullopt;
}

bool is_client_name(std::string_view name) {
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' && std::all_of(name.begin(), name.end(), allowed);
}

std::string dataset_name(std::int64_t utc_seconds, std::uint64_t suffix) {
  const std::tm t = utc(utc_seconds);
  std::string name = fmt::format("{:04}-{:02}-{:02}T{:02}{:02}{:02}Z", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
  if (suffix > highest_suffix) throw Error(ExitStatus::internal, fmt::format("a dataset would be named {}.{}", name, suffix), "report this as a defect");
  if (suffix > 1) name += fmt::format(".{}", suffix);
  return name;
}

bool is_dataset_name(std::string_view name) { return dataset_time(name).has_value(); }

std::optional<std::int64_t> dataset_time(std::string_view name) {
  const std::string_view stamp = name.substr(0, stamp_length), suffix = name.substr(stamp.size());
  if (stamp.size() != stamp_length || stamp[4] != '-' || stamp[7] != '-' || stamp[10] != 'T' || stamp[17] != 'Z') return std::nullopt;
  std::tm t{};
  auto number = [&](std::size_t at, std::size_t length) -> int {
    const std::string_view digits = stamp.substr(at, length);
    return is_digits(digits) ? std::stoi(std::string(digits)) : -1;
  };
  const int year = number(0, 4);
  t.tm_year = year - 1900, t.tm_mon = number(5, 2) - 1, t.tm_mday = number(8, 2);
  t.tm_hour = number(11, 2), t.tm_min = number(13, 2), t.tm_sec = number(15, 2);
  const std::int64_t seconds = ::timegm(&t);
  // Only the one spelling of a second is a name: 02-30 and 24:61 normalise to something else, or have no digits.
  if (year < 1 || dataset_name(seconds) != stamp) return std::nullopt;
  if (suffix.empty()) return seconds;
  const std::string_view digits = suffix.substr(1);
  if (suffix[0] != '.' || !is_digits(digits) || digits[0] == '0' || digits == "1") return std::nullopt;
  std::uint64_t value = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc() || value > highest_suffix) return std::nullopt;
  return seconds;
}

std::uint64_t dataset_suffix(std::string_view name) {
  std::uint64_t value = 1;
  if (name.size() > stamp_length + 1) std::from_chars(name.data() + stamp_length + 1, name.data() + name.size(), value);
  return value;
}

std::string format_time(std::int64_t utc_seconds) {
  const std::tm t = utc(utc_seconds);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

}  // namespace syncropy

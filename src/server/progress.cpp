#include "server/progress.hpp"

#include <fmt/format.h>

namespace syncropy {

std::string format_bytes(std::uint64_t bytes) {
  static constexpr const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string format_count(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

bool ends_by_itself(std::string_view stage) {
  return stage != "waiting" && stage != "done" && stage != "listing" && stage != "receiving";
}

std::string describe(const Progress& progress) {
  std::string line = progress.client + ": " + progress.stage.load();
  if (progress.listed > 0) line += ", " + format_count(progress.settled) + " of " + format_count(progress.listed) + " listed entries in place";
  if (progress.received_files > 0) line += ", " + format_count(progress.received_files) + " new files, " + format_bytes(progress.received_bytes);
  if (progress.problems > 0) line += ", " + format_count(progress.problems) + " problems";
  return line;
}

}  // namespace syncropy

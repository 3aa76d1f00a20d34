#include "server/progress.hpp"

namespace syncropy {

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

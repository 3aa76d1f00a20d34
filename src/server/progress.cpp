#include "server/progress.hpp"

#include <algorithm>

namespace syncropy {
namespace {

constexpr std::size_t most_in_full = 4;

bool is_at_work(const Progress& progress) {
  const std::string_view stage = progress.stage.load();
  return stage != "waiting" && stage != "done";
}

}  // namespace

bool ends_by_itself(std::string_view stage) {
  return stage != "waiting" && stage != "done" && stage != "listing" && stage != "receiving";
}

void Speed::note(Clock::time_point now, std::uint64_t total) {
  if (!samples_.empty() && total < samples_.back().total) samples_.clear();
  samples_.push_back({now, total});
  while (samples_.size() > 2 && now - samples_[1].time >= span) samples_.pop_front();
}

std::uint64_t Speed::a_second() const {
  if (samples_.size() < 2) return 0;
  const double seconds = std::chrono::duration<double>(samples_.back().time - samples_.front().time).count();
  return seconds <= 0 ? 0 : static_cast<std::uint64_t>(static_cast<double>(samples_.back().total - samples_.front().total) / seconds);
}

std::string describe(const Progress& progress, std::uint64_t bytes_a_second) {
  const std::string_view stage = progress.stage.load();
  std::string line = progress.client + ": " + std::string(stage);
  const std::uint64_t listed = progress.listed, settled = progress.settled, expected = progress.expected;
  if (listed == 0) return line;
  const bool all_are_listed = stage != "listing";
  const std::uint64_t all = all_are_listed ? listed : std::max(listed, expected);
  // Nothing is complete before its last stage is.
  if (all_are_listed || expected > 0) line += ", " + std::to_string(std::min<std::uint64_t>(99, settled * 100 / all)) + " %";
  line += ", " + format_count(progress.received_files) + " files, " + format_bytes(progress.received_bytes);
  if (stage == "listing" || stage == "receiving") line += ", " + format_bytes(bytes_a_second) + "/s";
  line += ", " + format_count(settled) + " of " + format_count(listed) + (all_are_listed ? " entries" : " entries so far");
  if (progress.problems > 0) line += ", " + format_count(progress.problems) + " unreadable";
  return line;
}

std::string describe(const std::deque<Progress>& clients, const std::vector<Speed>& speeds) {
  std::string line;
  std::size_t done = 0, at_work = 0;
  for (std::size_t i = 0; i < clients.size(); ++i) {
    if (std::string_view(clients[i].stage.load()) == "done") ++done;
    if (!is_at_work(clients[i]) || ++at_work > most_in_full) continue;
    line += (line.empty() ? "" : "; ") + describe(clients[i], speeds[i].a_second());
  }
  if (at_work > most_in_full) line += "; " + std::to_string(at_work - most_in_full) + " more at work";
  if (line.empty() || clients.size() == 1) return line;
  return std::to_string(done) + " of " + std::to_string(clients.size()) + " clients done; " + line;
}

}  // namespace syncropy

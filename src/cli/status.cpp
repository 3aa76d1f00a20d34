#include "server/status.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "cli/exit.hpp"
#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "sd/journal.hpp"
#include "util/escape.hpp"
#include "util/format.hpp"

namespace syncropy {
namespace {

std::string percent(std::uint64_t part, std::uint64_t whole) { return whole == 0 ? "-" : fmt::format("{:.0f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole)); }

std::string age_cell(const std::optional<DatasetInfo>& dataset, std::time_t now) {
  if (!dataset) return "-";
  return format_age(now - dataset->finished.seconds) + (dataset->completeness == Completeness::partial ? ", partial" : "");
}

std::string certificate_cell(const ClientStatus& client, std::time_t now) {
  const std::time_t expires = client.notes.certificate_expires;
  if (!client.uses_tls) return "no TLS";
  if (expires == 0) return "-";
  if (expires <= now) return "expired";
  return format_age(expires - now) + (expires - now < certificate_warning_seconds ? " !" : "");
}

std::string failure_cell(const ClientStatus& client, std::time_t now) {
  if (!client.notes.failure) return "-";
  return format_age(now - client.notes.failure->time) + " ago, status " + std::to_string(client.notes.failure->status);
}

void print_table(const ServerSettings& settings, const ConfigurationStatus& status, std::time_t now) {
  fmt::print("{}: {} of {} free ({}), inodes free {}", escape(settings.name), format_bytes(status.bytes_free), format_bytes(status.bytes_total), percent(status.bytes_free, status.bytes_total),
             percent(status.inodes_free, status.inodes_total));
  if (status.certificate_expires != 0) fmt::print(", this server's certificate until {}", format_time(status.certificate_expires).substr(0, 10));
  fmt::print(", in {}\n", escape(settings.repository));
  std::vector<std::vector<std::string>> rows{{"CLIENT", "HOUR", "DAY", "WEEK", "MONTH", "CERTIFICATE", "LAST FAILURE"}};
  for (const ClientStatus& client : status.clients) {
    std::vector<std::string> row{client.name};
    for (const std::optional<DatasetInfo>& newest : client.newest) row.push_back(age_cell(newest, now));
    row.push_back(certificate_cell(client, now));
    row.push_back(failure_cell(client, now));
    rows.push_back(std::move(row));
  }
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += (i == 0 ? "  " : "  ") + fmt::format("{:<{}}", row[i], i + 1 < row.size() ? widths[i] : 0);
    fmt::print("{}\n", line);
  }
  for (const std::string& text : status.attention) fmt::print("! {}\n", text);
  for (const ClientStatus& client : status.clients)
    for (const std::string& text : client.attention) fmt::print("! {}: {}\n", client.name, text);
}

std::string json_time(std::time_t time) { return time == 0 ? "null" : "\"" + format_time(time) + "\""; }

std::string json_list(const std::vector<std::string>& lines) {
  std::string list;
  for (const std::string& line : lines) list += (list.empty() ? "" : ",") + json_text(line);
  return "[" + list + "]";
}

void print_json(const ServerSettings& settings, const ConfigurationStatus& status, std::time_t now) {
  fmt::print(R"({{"config":{},"repository":{},"bytes_free":{},"bytes_total":{},"inodes_free":{},"inodes_total":{},"certificate_expires":{},"attention":{}}})" "\n", json_text(settings.name),
             json_text(settings.repository), status.bytes_free, status.bytes_total, status.inodes_free, status.inodes_total, json_time(status.certificate_expires), json_list(status.attention));
  for (const ClientStatus& client : status.clients) {
    std::string tiers, failure = "null";
    for (std::size_t i = 0; i < client.newest.size(); ++i) {
      const std::optional<DatasetInfo>& newest = client.newest[i];
      tiers += (i == 0 ? "" : ",") + fmt::format("\"{}\":", name_of(all_tiers[i])) +
               (newest ? fmt::format(R"({{"name":"{}","sequence":{},"finished":"{}","age_seconds":{},"complete":{}}})", newest->name, newest->sequence, format_time(newest->finished.seconds),
                                     now - newest->finished.seconds, newest->completeness == Completeness::complete)
                       : "null");
    }
    if (const auto& failed = client.notes.failure)
      failure = fmt::format(R"({{"time":"{}","tier":"{}","status":{},"why":{}}})", format_time(failed->time), name_of(failed->tier), failed->status, json_text(failed->why));
    fmt::print(R"({{"config":{},"client":{},"tls":{},"tiers":{{{}}},"connected":{},"certificate_expires":{},"last_failure":{},"attention":{}}})" "\n", json_text(settings.name), json_text(client.name),
               client.uses_tls, tiers, json_time(client.notes.connected), client.uses_tls ? json_time(client.notes.certificate_expires) : "null", failure, json_list(client.attention));
  }
}

// With the credentials where they can be had: they tell when this server's certificate expires, and are needed for nothing else.
std::pair<ServerSettings, std::time_t> load(const std::string& file) {
  try {
    ServerSettings settings = load_server_settings(file, Secrets::all);
    const std::time_t expires = own_expiry(settings);
    return {std::move(settings), expires};
  } catch (const Error&) {
    ServerSettings settings = load_server_settings(file, Secrets::none);
    const std::time_t expires = own_expiry(settings);
    return {std::move(settings), expires};
  }
}

ExitStatus show(const std::string& file, bool json) {
  const std::time_t now = std::time(nullptr);
  const auto [settings, expires] = load(file);
  become_owner_of(settings.repository);
  const ConfigurationStatus status = status_of(settings, expires, now);
  if (json) print_json(settings, status, now);
  else print_table(settings, status, now);
  const bool calm = status.attention.empty() && std::all_of(status.clients.begin(), status.clients.end(), [](const ClientStatus& client) { return client.attention.empty(); });
  return calm ? ExitStatus::success : ExitStatus::several;
}

// In a process of its own: whoever becomes the owner of one repository cannot become that of another.
ExitStatus show_apart(const std::string& file, bool json) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) throw_errno(ExitStatus::internal, "start", "a process");
  if (child == 0) {
    const int status = end_with("syncropy", [&] { return show(file, json); });
    std::fflush(stdout);
    ::_exit(status);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? static_cast<ExitStatus>(WEXITSTATUS(status)) : ExitStatus::internal;
}

}  // namespace

ExitStatus verb_status(const std::string& config, bool json) {
  const std::vector<std::string> files = config.empty() ? configuration_files() : std::vector<std::string>{};
  if (files.size() < 2) return show(configuration_file(config), json);
  ExitStatus worst = ExitStatus::success;
  bool first = true;
  for (const std::string& file : files) {
    if (!first && !json) fmt::print("\n");
    first = false;
    const ExitStatus status = show_apart(file, json);
    if (status != ExitStatus::success) worst = worst == ExitStatus::success || worst == status ? status : ExitStatus::several;
  }
  return worst;
}

}  // namespace syncropy

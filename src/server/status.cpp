#include "server/status.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <set>

#include "transport/authority.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"
#include "util/format.hpp"

namespace syncropy {
namespace {

constexpr std::size_t pem_bytes = 1U << 20;
constexpr unsigned least_percent_free = 5;

std::int64_t period_of(Tier tier) {
  switch (tier) {
    case Tier::hour: return 3'600;
    case Tier::day: return 86'400;
    case Tier::week: return 7 * 86'400;
    case Tier::month: return 31 * 86'400;
  }
  return 86'400;
}

void measure_space(const std::string& repository, ConfigurationStatus& status) {
  struct statvfs space{};
  if (::statvfs(repository.c_str(), &space) != 0) throw_errno(ExitStatus::repository, "ask for the space of", repository);
  status.bytes_total = static_cast<std::uint64_t>(space.f_blocks) * space.f_frsize;
  status.bytes_free = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  status.inodes_total = space.f_files;
  status.inodes_free = space.f_favail;
  auto is_scarce = [](std::uint64_t free, std::uint64_t total) { return total > 0 && free < total / 100 * least_percent_free; };
  if (is_scarce(status.bytes_free, status.bytes_total)) status.attention.push_back("the disk is nearly full: " + format_bytes(status.bytes_free) + " of " + format_bytes(status.bytes_total) + " are free");
  if (is_scarce(status.inodes_free, status.inodes_total)) status.attention.push_back("the disk is nearly out of inodes: " + format_count(status.inodes_free) + " of " + format_count(status.inodes_total) + " are free");
}

std::string expiry_text(std::time_t expires, std::time_t now) {
  return expires <= now ? "expired on " + format_time(expires) : "expires on " + format_time(expires) + ", in " + format_age(expires - now);
}

// The shortest tier that is backed up into regularly tells how old a newest dataset may be.
std::optional<std::int64_t> expected_period(const ClientStore::Datasets& datasets) {
  for (const Tier tier : all_tiers)
    if (std::count_if(datasets.good.begin(), datasets.good.end(), [&](const StoredDataset& dataset) { return dataset.info.tier == tier; }) > 1) return period_of(tier);
  return std::nullopt;
}

void judge(ClientStatus& client, const ClientStore::Datasets& datasets, std::time_t now) {
  const std::optional<RunNotes::Failure>& failure = client.notes.failure;
  const DatasetInfo* newest = datasets.good.empty() ? nullptr : &datasets.good.back().info;
  const auto last = static_cast<ExitStatus>(client.notes.last_status);
  if (failure && last != ExitStatus::success && last != ExitStatus::partial)
    client.attention.push_back("the last run (" + std::string(name_of(failure->tier)) + ", " + format_time(failure->time) + ") ended with status " + std::to_string(failure->status) + ": " + failure->why);
  if (newest == nullptr) {
    client.attention.push_back("there is no dataset of it");
  } else {
    if (newest->completeness == Completeness::partial) client.attention.push_back("its newest dataset is partial: " + format_count(newest->problems) + " files could not be read");
    const std::optional<std::int64_t> period = expected_period(datasets);
    if (const std::int64_t age = now - newest->finished.seconds; period && age > 2 * *period + period_of(Tier::hour))
      client.attention.push_back("no backup for " + format_age(age));
  }
  if (!datasets.damaged.empty()) client.attention.push_back(format_count(datasets.damaged.size()) + " of its datasets are damaged");
  if (const std::time_t expires = client.notes.certificate_expires; client.uses_tls && expires != 0 && expires - now < certificate_warning_seconds)
    client.attention.push_back("its certificate " + expiry_text(expires, now));
}

ClientStatus client_status(const Repository& repository, const ClientSettings& settings, bool known, std::time_t now) {
  ClientStatus client;
  client.name = settings.name;
  client.uses_tls = settings.ssl;
  if (!known) {
    client.attention.push_back("it was never backed up");
    return client;
  }
  const ClientStore store = repository.client(settings.name);
  const ClientStore::Datasets datasets = store.datasets();
  for (const StoredDataset& dataset : datasets.good)
    for (std::size_t i = 0; i < client.newest.size(); ++i)
      if (dataset.info.tier == all_tiers[i]) client.newest[i] = dataset.info;
  client.notes = store.notes();
  judge(client, datasets, now);
  return client;
}

}  // namespace

std::time_t own_expiry(const ServerSettings& settings) {
  std::set<std::string> files;
  for (const ClientSettings& client : settings.clients)
    if (client.ssl && !client.ssl_certificate.empty()) files.insert(client.ssl_certificate);
  std::time_t first = 0;
  for (const std::string& file : files) {
    try {
      const std::time_t expires = facts_of_certificate(der_of_certificate(read_file(AT_FDCWD, file, pem_bytes, ExitStatus::refused), file)).to;
      if (first == 0 || expires < first) first = expires;
    } catch (const Error&) {
      // Not ours to read; a run says what is wrong with it.
    }
  }
  return first;
}

ConfigurationStatus status_of(const ServerSettings& settings, std::time_t own_certificate_expires, std::time_t now) {
  const Repository repository = Repository::open(settings.repository, false);
  ConfigurationStatus status;
  measure_space(settings.repository, status);
  status.certificate_expires = own_certificate_expires;
  if (own_certificate_expires != 0 && own_certificate_expires - now < certificate_warning_seconds)
    status.attention.push_back("this server's certificate " + expiry_text(own_certificate_expires, now) + ": 'syncropy ca renew' renews one that 'syncropy ca init' made");
  const std::vector<std::string> known = repository.clients();
  for (const ClientSettings& client : settings.clients)
    status.clients.push_back(client_status(repository, client, std::find(known.begin(), known.end(), client.name) != known.end(), now));
  return status;
}

std::string format_age(std::int64_t seconds) {
  constexpr std::pair<std::int64_t, const char*> units[] = {{86'400, " d"}, {3'600, " h"}, {60, " min"}};
  if (seconds < 0) seconds = 0;  // clocks are set
  for (const auto& [unit, name] : units)
    if (seconds >= 2 * unit) return std::to_string(seconds / unit) + name;
  return std::to_string(seconds) + " s";
}

}  // namespace syncropy

#include "fixture.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "catalog/engine.hpp"

namespace syncropy::test {
namespace {

std::string the_run_folder;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

const std::string& run_folder() { return the_run_folder; }
void set_run_folder(std::string folder) { the_run_folder = std::move(folder); }

CatalogLocation fresh_location(Where where) {
  static std::atomic<int> count = 0;
  const std::string name = "/catalog-" + std::to_string(::getpid()) + "-" + std::to_string(count++) + ".fdb";
  CatalogLocation location;
  if (where == Where::embedded) {
    location.database = run_folder() + name;
    location.engine_folder = run_folder() + "/engine";
  } else {
    location.host = environment("FIREBIRD_TEST_HOST");
    location.port = static_cast<std::uint16_t>(std::stoi(environment("FIREBIRD_TEST_PORT")));
    location.user = environment("FIREBIRD_TEST_USER");
    location.password = environment("FIREBIRD_TEST_PASSWORD");
    location.database = environment("FIREBIRD_TEST_FOLDER") + name;
  }
  return location;
}

firebird::Access raw_access(const CatalogLocation& location) {
  if (location.host.empty()) {
    use_engine_folder(location.engine_folder);
    return {location.database, location.user, {}, true, "test database"};
  }
  return {"inet://" + location.host + ":" + std::to_string(location.port) + "/" + location.database, location.user, location.password, false,
          "test database"};
}

void drop(const CatalogLocation& location) {
  try {
    firebird::Attachment attachment = firebird::Attachment::attach(raw_access(location));
    firebird::Status status(attachment.link());
    attachment.raw().addRef();  // dropDatabase lets go of one, and ~Attachment of the other
    attachment.raw().dropDatabase(&status);
  } catch (const Error&) {
    if (location.host.empty()) ::unlink(location.database.c_str());  // never made, or no database
  }
}

std::vector<Where> all_places() {
  if (environment("FIREBIRD_TEST_HOST").empty()) return {Where::embedded};
  return {Where::embedded, Where::networked};
}

std::string name_of_place(const ::testing::TestParamInfo<Where>& info) { return info.param == Where::embedded ? "embedded" : "networked"; }

DatasetInfo dataset_info(const std::string& client, std::uint64_t sequence, Tier tier) {
  DatasetInfo info;
  info.client = client;
  info.tier = tier;
  info.sequence = sequence;
  info.started = {1'795'374'300 + static_cast<std::int64_t>(sequence) * 3600, 5};
  info.finished = {info.started.seconds + 60, 999'999'999};
  info.name = dataset_name(info.started.seconds);
  info.entries = 10, info.files = 9, info.bytes = 1'000'000'000'000, info.new_files = 8, info.new_bytes = 7, info.problems = 6;
  return info;
}

Entry file(const std::string& path, const std::string& content) {
  Entry entry;
  entry.path = path;
  entry.stat.mode = 0644;
  entry.stat.uid = 1000;
  entry.stat.gid = 100;
  entry.stat.size = content.size();
  entry.stat.mtime = {1'700'000'000, 123'456'789};
  entry.stat.ctime = {1'700'000'001, 1};
  entry.stat.inode = std::hash<std::string>{}(path);
  entry.stat.filesystem = 2049;
  entry.details.owner = "alice";
  entry.details.group = "users";
  entry.digest = digest_of(content);
  return entry;
}

Entry folder(const std::string& path) {
  Entry entry = file(path);
  entry.stat.type = FileType::folder;
  entry.stat.mode = 0755;
  entry.stat.size = 0;
  entry.digest.reset();
  return entry;
}

static std::uint64_t newest_of(Catalog& catalog, const std::string& client) {
  const std::vector<RecordedDataset> all = catalog.datasets(client);
  return all.empty() ? 0 : all.back().info.sequence;
}

void record(Catalog& catalog, const DatasetInfo& info, const std::vector<std::string>& ended, const std::vector<Entry>& begun) {
  Catalog::Recording recording = catalog.record(info.client, info.sequence, newest_of(catalog, info.client));
  for (const std::string& path : ended) recording.end_version(path);
  for (const Entry& entry : begun) recording.begin_version(entry);
  recording.commit(info);
}

void expire(Catalog& catalog, const std::string& client, std::uint64_t sequence) {
  catalog.remove(client, sequence);
  catalog.trim(client);
}

std::string first_row(Catalog& catalog, const std::string& sql) {
  const Catalog::Table table = catalog.query(sql, 1);
  std::string line;
  if (table.rows.empty()) return line;
  for (const std::string& value : table.rows[0]) line += (line.empty() && &value == &table.rows[0][0] ? "" : "|") + value;
  return line;
}

std::string paths_of(Catalog& catalog, const std::string& client, std::uint64_t sequence) {
  std::string line;
  for (const auto& row : catalog.query("SELECT path FROM files WHERE client = '" + client + "' AND sequence_number = " + std::to_string(sequence) +
                                       " ORDER BY path").rows)
    line += (line.empty() ? "" : " ") + row[0];
  return line;
}

}  // namespace syncropy::test

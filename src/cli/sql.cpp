#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "catalog/catalog.hpp"
#include "cli/owner.hpp"
#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "server/record.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr std::size_t most_rows = 100'000;

}  // namespace

ExitStatus verb_sql(const std::string& config, const std::string& query) {
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::of_database);
  become_owner_of(settings.repository);
  const Repository repository = Repository::open(settings.repository, false);
  Catalog catalog = Catalog::open_existing(catalog_location(settings.database, repository));
  const Catalog::Table table = catalog.query(query, most_rows);
  std::vector<std::vector<std::string>> lines{table.columns};
  for (const std::vector<std::string>& row : table.rows) {
    std::vector<std::string>& line = lines.emplace_back();
    for (const std::string& value : row) line.push_back(escape(value));
  }
  std::vector<std::size_t> widths(table.columns.size(), 0);
  for (const std::vector<std::string>& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  for (const std::vector<std::string>& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i) text += fmt::format("{:<{}}{}", line[i], i + 1 == line.size() ? 0 : widths[i], i + 1 == line.size() ? "" : "  ");
    fmt::print("{}\n", text);
  }
  if (table.rows.size() == most_rows) fmt::print(stderr, "only the first {} rows are shown: narrow the query\n", most_rows);
  return ExitStatus::success;
}

}  // namespace syncropy

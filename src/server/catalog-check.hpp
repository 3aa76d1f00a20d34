#pragma once
// The catalog held against the manifests.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "repository/repository.hpp"

namespace syncropy {

struct CatalogCheckEvents {
  std::function<void(const std::string& why)> on_damage;
  std::function<void(const std::string& text)> on_note;   // no damage: what the next run will do, or what could not be looked at
  std::function<void(std::uint64_t rows)> on_rows;        // progress
};

// For each of `clients`: of the datasets that repository and catalog have in common, the catalog shows exactly what the manifests say. Then, with
// `all`, that each row is found by the indexes, that everything is defined as it should be, and that the database's pages are in order.
// Backups may run meanwhile; the datasets of a client are held against expiry while it is compared. Throws what says nothing about the catalog:
// the way to it, a disk; and Error(data) for damage that leaves nothing to compare.
//
// A damaged database may make the embedded engine crash or never return: so whoever wants to live on calls this in another process.
void check_catalog(const DatabaseSettings& database, const Repository& repository, const std::vector<std::string>& clients, bool all,
                   const CatalogCheckEvents& events);

// The same in a process of its own: damage that makes the engine crash, or keeps it busy for ever, is damage like any other; that it was
// killed, or had no memory, is Error(starved). Call it before there are other threads that use the catalog.
struct CatalogVerdict {
  std::vector<std::string> damage, notes;
};
[[nodiscard]] CatalogVerdict check_catalog_apart(const DatabaseSettings& database, const Repository& repository, const std::vector<std::string>& clients,
                                                 bool all, const std::function<void(std::uint64_t rows)>& on_rows);

}  // namespace syncropy

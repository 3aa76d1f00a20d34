#pragma once
// What Firebird's own tools do, done by the engine or the server itself (its Services API): a backup as of gbak(1), a validation as of gfix(1).

#include <functional>
#include <string>
#include <string_view>

#include "catalog/firebird.hpp"

namespace syncropy::firebird {

// Both take the database's Access, work while others use it, and throw DatabaseError about its subject.

// A backup in gbak's format, of one moment, in pieces. Returns when all has come; what `take` throws ends it.
void back_up(const Access& access, const std::string& database, const std::function<void(std::string_view piece)>& take);

// Looks at all pages; `line` gets what is wrong. False where that cannot be done since somebody else has the database open. Embedded only.
[[nodiscard]] bool validate_alone(const Access& access, const std::string& database, const std::function<void(std::string_view text)>& line);

// Looks at the pages of all tables and indexes, in use or not; `line` gets what is wrong. A table that another keeps writing for ten seconds is
// left out.
void validate(const Access& access, const std::string& database, const std::function<void(std::string_view text)>& line);

}  // namespace syncropy::firebird

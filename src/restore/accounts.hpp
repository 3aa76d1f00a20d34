#pragma once
// The accounts of entries in the numbers of the machine that restores.

#include <cstdint>
#include <string>
#include <unordered_map>

#include "model/restore.hpp"

namespace syncropy {

// Numbers for the accounts of entries, on this machine. Not thread-safe. `rules` outlives it.
class Accounts {
 public:
  explicit Accounts(const RestoreRules& rules) : rules_(rules) {}
  // The first mapping of RestoreRules that fits `name` or `number` and whose target exists here, else the account of that name here, else
  // (or with `numeric`) the number.
  [[nodiscard]] std::uint32_t user(const std::string& name, std::uint32_t number);
  [[nodiscard]] std::uint32_t group(const std::string& name, std::uint32_t number);

 private:
  using Numbers = std::unordered_map<std::string, std::uint32_t>;  // by "number name"; bounded like AccountNames
  const RestoreRules& rules_;
  Numbers users_, groups_;
};

}  // namespace syncropy

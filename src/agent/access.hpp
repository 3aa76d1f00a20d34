#pragma once
// The policy's say about a path.

#include <string>
#include <string_view>
#include <vector>

#include "config/policy.hpp"

namespace syncropy {

// Paths as entries have them: relative, bytes. Both lists come from the policy once, at the start of a session.
class ReadAccess {
 public:
  explicit ReadAccess(const AgentPolicy& policy);
  // Inside what may be read and outside what is denied.
  [[nodiscard]] bool allows(std::string_view path) const;
  // An ancestor of something that may be read: its attributes may be read, nothing else in it.
  [[nodiscard]] bool allows_as_ancestor(std::string_view path) const;
  [[nodiscard]] const std::vector<std::string>& denied() const { return denied_; }

 private:
  std::vector<std::string> allowed_, denied_;
};

// `path` is `folder` or lies below it; both relative, "" is the root.
[[nodiscard]] bool is_within(std::string_view path, std::string_view folder);

}  // namespace syncropy

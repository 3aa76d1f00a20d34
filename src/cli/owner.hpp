#pragma once
// `sudo syncropy list` on the repository of another user: what that user planted there must not run with root's privileges, and what is
// made there must stay that user's.

#include <string>

namespace syncropy {

// Where this process is root and `repository` (a path) belongs to somebody else, becomes that user for good: user, groups and
// capabilities. Does nothing for everybody else, and where there is no repository: whoever opens it says so. Throws Error(refused) where
// it cannot be done. Before the catalog is opened, and before any thread starts.
void become_owner_of(const std::string& repository);

}  // namespace syncropy

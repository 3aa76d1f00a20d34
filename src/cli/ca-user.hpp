#pragma once
// `sudo syncropy ca` works in the CA's folder as the CA's user: what is made there stays that user's.

#include <memory>
#include <string>

#include "util/acting-as.hpp"

namespace syncropy {

// Where this process is root and there is no such folder: makes it, for syncropy-ca alone. Throws Error(config) where there is no such user.
void make_ca_folder(const std::string& folder);

// While it lives, a process of root's acts as whoever the folder belongs to. Does nothing for everybody else, and where there is no folder.
class CaUser {
 public:
  explicit CaUser(const std::string& folder);

 private:
  std::unique_ptr<ActingAs> acting_;
};

}  // namespace syncropy

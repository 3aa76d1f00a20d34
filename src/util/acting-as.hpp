#pragma once
// A part of a program that root runs, done with the rights of somebody else.

#include <sys/types.h>

#include <string>
#include <vector>

namespace syncropy {

struct Account {
  uid_t user;
  gid_t group;
};
// Throws Error(config) where there is none of that name.
[[nodiscard]] Account account_of(const std::string& name);
[[nodiscard]] bool is_account(const std::string& name);
// The user's name, or the number of one that has none.
[[nodiscard]] std::string name_of(const Account& account);

// While it lives, the whole process has the rights of that account, in effect: files that it makes are theirs, and what they may not open it
// does not open. For who is not root it does nothing. One at a time. Throws SystemError where the rights cannot be had; where they cannot be
// given back the process ends.
class ActingAs {
 public:
  explicit ActingAs(const Account& account);
  ~ActingAs();
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

 private:
  bool acting_ = false;
  std::vector<gid_t> groups_;
  gid_t group_ = 0;
};

}  // namespace syncropy

#pragma once
// A file that is written under another name until it is whole.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "util/digest.hpp"
#include "util/fd.hpp"

namespace syncropy {

// A regular file that is being written aside. Its destructor removes it unless it was placed.
class Aside {
 public:
  Aside(Aside&&) noexcept;
  ~Aside();
  // `offset` is not below the end of what came before (Error(protocol)); a gap is a hole. Throws SystemError(io) when the disk is full or
  // fails; finish() tells of any other failure.
  void write(std::uint64_t offset, std::string_view bytes);

 private:
  friend class Placer;
  Aside(std::shared_ptr<const Fd> folder, std::string temporary, Fd file);
  std::shared_ptr<const Fd> folder_;
  std::string temporary_;      // empty once it was renamed
  Fd file_;
  bool inherits_acl_ = true;   // or it may
  Hasher hasher_;
  std::uint64_t at_ = 0;       // hashed up to here
  std::uint64_t written_ = 0;  // the end of the last data
  int failure_ = 0;            // errno
};

}  // namespace syncropy

#pragma once
// One file on its way into a tree: content in ascending order, hashed as it is written.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "model/entry.hpp"
#include "util/digest.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {

// Raised by keep() when the stored predecessor turns out not to hold what it should: fetch the file whole.
class PredecessorDamaged : public Error {
 public:
  using Error::Error;
};

class FileSink {
 public:
  // `file`: new, empty, open for writing. `predecessor`: the same path in the dataset before, for keep(); may be empty. Where the
  // filesystem has reflinks the file starts as its clone and only what changed is written. `path` names it in errors.
  FileSink(Fd file, Fd predecessor, std::string path);

  // `between` is called every few MiB of long work; what it throws ends that.
  void call_between(std::function<void()> between) { between_ = std::move(between); }
  // The end of what came so far.
  [[nodiscard]] std::uint64_t position() const { return at_; }

  // Content at `offset`, which is not below the end of what came before; a gap is a hole. Error(protocol) where the
  // holes of the file exceed limits::hole_bytes together.
  void data(std::uint64_t offset, std::string_view bytes);
  // `length` bytes at `offset` are those of the predecessor at the same place.
  void keep(std::uint64_t offset, std::uint64_t length);
  // All that came is void: begins anew.
  void restart();
  // Sets size (a tail without data is a hole), mode 0400 and mtime, closes checked, and returns the digest of the content.
  [[nodiscard]] Digest finish(std::uint64_t size, Timestamp mtime);

 private:
  void hole_until(std::uint64_t offset);

  Fd file_, predecessor_;
  std::string path_;
  Hasher hasher_;
  std::function<void()> between_;
  std::uint64_t at_ = 0;
  std::uint64_t holes_ = 0;    // bytes
  std::uint64_t written_ = 0;  // the end of the last write: the file's size unless cloned
  bool cloned_ = false;
};

}  // namespace syncropy

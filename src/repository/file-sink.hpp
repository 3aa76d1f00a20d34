#pragma once
// One file on its way into a tree: content in ascending order, hashed as it is written.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

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
  // `length` bytes at `offset` are those of the predecessor at the same place. They are read and hashed now, and written once it is certain that
  // not all of the file is the predecessor's.
  void keep(std::uint64_t offset, std::uint64_t length);
  // For whoever knows that the predecessor itself will not do: what is kept is written at once.
  void write_at_once() { write_kept(); }
  // All that came was kept, or a hole: the file is its predecessor, if their digests are the same.
  [[nodiscard]] bool kept_all() const { return !kept_.empty() && !written_any_; }
  // All that came is void: begins anew.
  void restart();
  // Sets size (a tail without data is a hole), mode 0400 and mtime, closes checked, and returns the digest of the content.
  [[nodiscard]] Digest finish(std::uint64_t size, Timestamp mtime);
  // The digest alone: the file is not wanted.
  [[nodiscard]] Digest discard(std::uint64_t size);

 private:
  struct Range {
    std::uint64_t offset, length;
  };
  void hole_until(std::uint64_t offset);
  void write_kept();
  [[noreturn]] void reject_predecessor() const;

  Fd file_, predecessor_;
  std::string path_;
  Hasher hasher_;
  std::function<void()> between_;
  std::uint64_t at_ = 0;
  std::uint64_t holes_ = 0;    // bytes
  std::uint64_t written_ = 0;  // the end of the last write: the file's size unless cloned
  std::vector<Range> kept_;    // of the predecessor, not written yet; at most limits::extents
  bool written_any_ = false;
  bool cloned_ = false;
};

}  // namespace syncropy

#pragma once
// Stored content on its way out: read, verified, written to a descriptor.

#include <cstdint>
#include <string>
#include <string_view>

#include "model/entry.hpp"
#include "util/fd.hpp"

namespace syncropy {

// The content of one regular file, from its stored file. What is handed out is always as many bytes as the entry says: those that cannot be
// read are zeros, and then it is not intact.
class ContentReader {
 public:
  // `file` is what DatasetSource::open_content() gave for `entry`, which outlives this.
  ContentReader(Fd file, const Entry& entry);

  struct Piece {
    std::uint64_t hole = 0;  // so many zero bytes come first
    std::string_view data;   // valid until the next call
  };
  // False at the end. With an entry that is not sparse there is no hole, else data is what the entry's extents hold.
  [[nodiscard]] bool next(Piece& piece);
  // After the last piece: whether all that was handed out is what the entry's digest says.
  [[nodiscard]] bool is_intact();

 private:
  [[nodiscard]] std::string_view read(std::uint64_t count);

  Fd file_;
  const Entry& entry_;
  Hasher hasher_;
  std::string buffer_;
  std::uint64_t at_ = 0;
  std::size_t next_extent_ = 0;
  bool readable_ = true;
};

// How many bytes the entry's content has without its holes.
[[nodiscard]] std::uint64_t data_bytes(const Entry& entry);

// Bytes to a descriptor, gathered.
class OutputStream {
 public:
  // `fd` belongs to the caller. `name` is for messages.
  OutputStream(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  // Both throw Error(io) when the descriptor takes no more; SIGPIPE must be ignored.
  void write(std::string_view bytes);
  void flush();
  void write_zeros(std::uint64_t count);
  [[nodiscard]] std::uint64_t position() const { return position_; }

 private:
  void put(std::string_view bytes) const;

  int fd_;
  std::string name_;
  std::string gathered_;
  std::uint64_t position_ = 0;
};

}  // namespace syncropy

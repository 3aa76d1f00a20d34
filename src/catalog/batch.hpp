#pragma once
// The same statement for many rows in one message: an EXECUTE BLOCK with the statement written out once a row, prepared once. Over a
// network a statement a row costs a round trip a row (5,600 rows/s on loopback); this costs one for all of its rows.
//
// Measured: a recording of 200,000 new entries (paths of 73 bytes, digests) takes 2.4 s of one core embedded, 83,000 rows/s; 115,000 without
// the two indexes of `entry`, 97 % of it inside Firebird. Networked on loopback it takes a third to two thirds of the embedded's time: client
// and server each have a core, and Super needs no page locks. Ending and beginning all 200,000 again: 47,000/s. Forced writes add one
// synchronous write for each of 4,700 pages, which a slow disk may make the larger part.

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "catalog/firebird.hpp"

namespace syncropy {

class Batch {
 public:
  // `statement` names the values of a row ?a, ?b, … in the order of `types` (at most 26, each as often as it likes), and what all rows share
  // :shared0, :shared1, … in the order of `shared`. `rows` times the row's declared size must fit Firebird's message of 64 KB. Prepared at first use.
  struct Shape {
    std::string_view statement;
    std::span<const char* const> shared, types;
    unsigned rows;
  };
  Batch(firebird::Attachment& attachment, const Shape& shape) : attachment_(attachment), shape_(shape) {}

  // Between recordings: forgets rows not flushed and sets what all rows share from now on.
  void begin(firebird::Transaction& transaction, std::span<const std::int64_t> shared);
  // The values of the next row, in order; the last one completes it and sends all when the batch is full.
  Batch& put(std::int64_t value);
  Batch& put(std::string_view bytes);
  Batch& put_null();
  Batch& put_blob(std::string_view bytes);
  template <typename Value>
  Batch& put_optional(const std::optional<Value>& value) {
    return value ? put(*value) : put_null();
  }
  void flush();

 private:
  [[nodiscard]] std::string text() const;
  firebird::Statement& statement();
  [[nodiscard]] unsigned next_index();
  void completed();

  firebird::Attachment& attachment_;
  Shape shape_;
  firebird::Transaction* transaction_ = nullptr;
  std::vector<std::int64_t> shared_;
  std::optional<firebird::Statement> statement_;
  unsigned rows_ = 0, values_ = 0;
};

}  // namespace syncropy

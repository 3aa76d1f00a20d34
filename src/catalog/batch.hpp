#pragma once
// The same statement for many rows in one message: an EXECUTE BLOCK with the statement written out once a row, prepared once. Over a
// network a statement a row costs a round trip a row (5,600 rows/s on loopback); this costs one for all of its rows.
//
// Measured: a recording of 212,000 new entries (paths of 73 bytes, digests) takes 1.25 s of one core embedded with 16 rows a block, 2.4 s with
// 80 (the engine's time per row doubles between 32 and 48: the block outgrows a cache); 0.95 s without the index entry_path. Networked on
// loopback a first run of as many takes 9.7 s with 80 rows, 9.3 with 32, 9.4 with 16, both sides 9.5, 9.1 and 9.0 s of CPU time; fewer than 32 would
// be round trips where the server is far.

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "catalog/firebird.hpp"

namespace syncropy {

class Batch {
 public:
  // `statement` names the values of a row ?a, ?b, … in the order of `types` (at most 26, each as often as it likes), and what all rows share
  // :shared0, :shared1, … in the order of `shared`. `rows` times the row's declared size must fit Firebird's message of 64 KB; the embedded engine
  // gets at most embedded_rows, a server networked_rows. Prepared at first use.
  struct Shape {
    std::string_view statement;
    std::span<const char* const> shared, types;
    unsigned rows;
  };
  static constexpr unsigned embedded_rows = 16, networked_rows = 32;
  Batch(firebird::Attachment& attachment, const Shape& shape) : attachment_(attachment), shape_(shape) {
    shape_.rows = std::min(shape_.rows, attachment.link().embedded ? embedded_rows : networked_rows);
  }

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

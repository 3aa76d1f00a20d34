#include "catalog/batch.hpp"

#include <fmt/format.h>

namespace syncropy {

// EXECUTE BLOCK (n …, shared0 …, a0 …, b0 …, a1 …) AS BEGIN IF (n > 0) THEN statement(a0, b0); IF (n > 1) THEN statement(a1, b1); … END
std::string Batch::text() const {
  std::string sql = "EXECUTE BLOCK (n INTEGER = ?";
  for (unsigned i = 0; i < shape_.shared.size(); ++i) sql += fmt::format(",shared{} {}=?", i, shape_.shared[i]);
  for (unsigned row = 0; row < shape_.rows; ++row)
    for (unsigned i = 0; i < shape_.types.size(); ++i) sql += fmt::format(",{}_{} {}=?", static_cast<char>('a' + i), row, shape_.types[i]);
  sql += ") AS BEGIN\n";
  for (unsigned row = 0; row < shape_.rows; ++row) {
    sql += fmt::format("IF (n > {}) THEN ", row);
    for (std::size_t at = 0; at < shape_.statement.size(); ++at) {
      if (shape_.statement[at] == '?') {
        sql += fmt::format(":{}_{}", shape_.statement[at + 1], row);
        ++at;
      } else {
        sql += shape_.statement[at];
      }
    }
    sql += ";\n";
  }
  return sql + "END";
}

void Batch::begin(firebird::Transaction& transaction, std::span<const std::int64_t> shared) {
  transaction_ = &transaction;
  shared_.assign(shared.begin(), shared.end());
  rows_ = values_ = 0;
}

firebird::Statement& Batch::statement() {
  if (!statement_) statement_.emplace(*transaction_, text());
  return *statement_;
}

unsigned Batch::next_index() { return static_cast<unsigned>(1 + shape_.shared.size() + rows_ * shape_.types.size() + values_); }

void Batch::completed() {
  if (++values_ < shape_.types.size()) return;
  values_ = 0;
  if (++rows_ == shape_.rows) flush();
}

Batch& Batch::put(std::int64_t value) {
  statement().set(next_index(), value);
  completed();
  return *this;
}

Batch& Batch::put(std::string_view bytes) {
  statement().set(next_index(), bytes);
  completed();
  return *this;
}

Batch& Batch::put_null() {
  statement().set_null(next_index());
  completed();
  return *this;
}

Batch& Batch::put_blob(std::string_view bytes) {
  statement().set_blob(*transaction_, next_index(), bytes);
  completed();
  return *this;
}

void Batch::flush() {
  if (rows_ == 0) return;
  statement().set(0, std::int64_t{rows_});
  for (unsigned i = 0; i < shared_.size(); ++i) statement().set(1 + i, shared_[i]);
  rows_ = 0;
  statement().execute(*transaction_);
}

}  // namespace syncropy

#include "catalog/batch.hpp"

#include <array>

#include "fixture.hpp"

namespace syncropy::test {
namespace {

class BatchTest : public CatalogTest {};
CATALOG_TEST_EVERYWHERE(BatchTest);

// 3 rows a message: full messages, a rest, values repeated in a statement, NULL after a value in the same place.
TEST_P(BatchTest, writes_every_row_once) {
  firebird::Attachment attachment = firebird::Attachment::create(raw_access(location));
  {
    firebird::Transaction transaction(attachment, firebird::Isolation::write);
    transaction.execute("CREATE TABLE t (shared BIGINT, number INTEGER, again INTEGER, word VARCHAR(10) CHARACTER SET NONE)");
    transaction.commit();
  }
  constexpr std::array shared{"BIGINT"};
  constexpr std::array types{"INTEGER", "VARCHAR(10) CHARACTER SET NONE"};
  Batch batch(attachment, {"INSERT INTO t (shared, number, again, word) VALUES (:shared0, ?a, ?a + 1, ?b)", shared, types, 3});
  {
    firebird::Transaction transaction(attachment, firebird::Isolation::write);
    const std::array<std::int64_t, 1> seven{7};
    batch.begin(transaction, seven);
    for (std::int64_t i = 0; i < 8; ++i) {
      batch.put(i);
      if (i % 2 == 0) {
        batch.put("word");
      } else {
        batch.put_null();
      }
    }
    batch.flush();
    batch.flush();
    transaction.commit();
  }
  firebird::Transaction transaction(attachment, firebird::Isolation::read);
  firebird::Statement sums(
      transaction,
      "SELECT COUNT(*), COUNT(DISTINCT number), SUM(again), COUNT(word), MIN(shared), SUM(MOD(number, 2) * IIF(word IS NULL, 0, 1)) FROM t");
  sums.open(transaction);
  ASSERT_TRUE(sums.fetch());
  EXPECT_EQ(sums.integer(0), 8);
  EXPECT_EQ(sums.integer(1), 8);
  EXPECT_EQ(sums.integer(2), 28 + 8);
  EXPECT_EQ(sums.integer(3), 4);
  EXPECT_EQ(sums.integer(4), 7);
  EXPECT_EQ(sums.integer(5), 0);
}

TEST_P(BatchTest, refuses_a_value_that_does_not_fit_instead_of_cutting_it) {
  firebird::Attachment attachment = firebird::Attachment::create(raw_access(location));
  constexpr std::array types{"SMALLINT", "VARCHAR(3) CHARACTER SET NONE"};
  Batch batch(attachment, {"DELETE FROM rdb$database WHERE 1 = 0 AND ?a = 1 AND ?b = 'a'", {}, types, 2});
  firebird::Transaction transaction(attachment, firebird::Isolation::write);
  batch.begin(transaction, {});
  expect_error(ExitStatus::internal, "does not fit", [&] { batch.put(40'000); });
  batch.put(1);
  expect_error(ExitStatus::internal, "does not fit", [&] { batch.put("four"); });
}

}  // namespace
}  // namespace syncropy::test

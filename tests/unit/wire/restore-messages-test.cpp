#include "wire/restore-messages.hpp"

#include <gtest/gtest.h>

#include "tests/support/entries.hpp"

namespace syncropy {
namespace {

template <typename Message>
std::string encode(const Message& message) {
  ByteWriter out;
  put(out, message);
  return out.take();
}

RestoreRules every_rule() {
  RestoreRules rules;
  rules.target = "srv/new place";
  rules.existing = Existing::newer;
  rules.remove_others = rules.dry_run = rules.numeric = true;
  rules.users = {{"anna", "1000"}, {"1001", "bob"}};
  rules.groups = {{"staff", "users"}};
  rules.excludes = {"*.o", "/var/cache"};
  rules.whole = {"", "srv/data"};
  return rules;
}

TEST(RestoreMessages, RulesComeBack) {
  EXPECT_EQ(get_restore_rules(encode(every_rule())), every_rule());
  EXPECT_EQ(get_restore_rules(encode(RestoreRules{})), RestoreRules{});
}

TEST(RestoreMessages, RulesThatCannotBeAreRejected) {
  for (const char* target : {"/etc", "a/../b", "a//b", ".", "a/"}) {
    RestoreRules rules;
    rules.target = target;
    EXPECT_THROW(static_cast<void>(get_restore_rules(encode(rules))), Error) << target;
  }
  for (int existing : {0, 5, 255}) {
    RestoreRules rules;
    rules.existing = static_cast<Existing>(existing);
    EXPECT_THROW(static_cast<void>(get_restore_rules(encode(rules))), Error) << existing;
  }
  RestoreRules many;
  many.users.resize(limits::account_mappings + 1);
  EXPECT_THROW(static_cast<void>(get_restore_rules(encode(many))), Error);
  many.users.clear();
  many.excludes.resize(limits::restore_patterns + 1);
  EXPECT_THROW(static_cast<void>(get_restore_rules(encode(many))), Error);
}

TEST(RestoreMessages, CutOrProlongedTheyAreRejected) {
  const std::string rules = encode(every_rule()), end = encode(ContentEnd{300, 5}), removed = encode(Removed{"a/b", 13}), ready = encode(RestoreReady{true});
  for (std::size_t length = 0; length < rules.size(); ++length) EXPECT_THROW(static_cast<void>(get_restore_rules(std::string_view(rules).substr(0, length))), Error);
  for (std::size_t length = 0; length < end.size(); ++length) EXPECT_THROW(static_cast<void>(get_content_end(std::string_view(end).substr(0, length))), Error);
  for (std::size_t length = 0; length < removed.size(); ++length) EXPECT_THROW(static_cast<void>(get_removed(std::string_view(removed).substr(0, length))), Error);
  EXPECT_THROW(static_cast<void>(get_restore_rules(rules + "x")), Error);
  EXPECT_THROW(static_cast<void>(get_content_end(end + "x")), Error);
  EXPECT_THROW(static_cast<void>(get_removed(removed + "x")), Error);
  EXPECT_THROW(static_cast<void>(get_restore_ready(ready + "x")), Error);
  EXPECT_THROW(static_cast<void>(get_restore_ready("\x02")), Error);
}

TEST(RestoreMessages, EntriesComeBackOneAfterTheOther) {
  ByteWriter out;
  std::string previous;
  std::uint32_t id = 7;
  for (const Entry& entry : one_of_each()) {
    put(out, id++, entry.path == "a", entry, previous);
    previous = entry.path;
  }
  ByteReader in(out.view(), ExitStatus::protocol, "entries");
  previous.clear();
  id = 7;
  for (const Entry& entry : one_of_each()) {
    const PlacedEntry placed = get_placed_entry(in, previous);
    EXPECT_EQ(placed.id, id++);
    EXPECT_EQ(placed.on_the_way, entry.path == "a");
    EXPECT_EQ(placed.entry, entry);
    previous = entry.path;
  }
  EXPECT_TRUE(in.at_end());
}

TEST(RestoreMessages, OnlyFoldersAreOnTheWay) {
  ByteWriter out;
  put(out, 1, true, file_entry("a", "x"), {});
  ByteReader in(out.view(), ExitStatus::protocol, "entries");
  EXPECT_THROW(static_cast<void>(get_placed_entry(in, {})), Error);
}

TEST(RestoreMessages, WantsAreBounded) {
  ByteWriter out;
  put_wants(out, {1, 2, UINT32_MAX});
  EXPECT_EQ(get_wants(out.view()), (std::vector<std::uint32_t>{1, 2, UINT32_MAX}));
  ByteWriter many;
  put_wants(many, std::vector<std::uint32_t>(limits::wants + 1));
  EXPECT_THROW(static_cast<void>(get_wants(many.view())), Error);
}

TEST(RestoreMessages, OutcomesComeBack) {
  const RestoreOutcome outcome{RestoreResult::adjusted, {{"owner", 1}, {"attribute user.x", 95}}};
  ByteWriter out;
  put(out, EntryOutcome{9, outcome});
  put(out, EntryOutcome{10, {RestoreResult::same, {}}});
  ByteReader in(out.view(), ExitStatus::protocol, "outcomes");
  const EntryOutcome first = get_entry_outcome(in), second = get_entry_outcome(in);
  EXPECT_EQ(first.id, 9U);
  EXPECT_EQ(first.outcome, outcome);
  EXPECT_EQ(second.outcome.result, RestoreResult::same);
  for (int result : {0, 8}) {
    ByteWriter wrong;
    put(wrong, EntryOutcome{9, {static_cast<RestoreResult>(result), {}}});
    ByteReader reader(wrong.view(), ExitStatus::protocol, "outcomes");
    EXPECT_THROW(static_cast<void>(get_entry_outcome(reader)), Error) << result;
  }
}

}  // namespace
}  // namespace syncropy

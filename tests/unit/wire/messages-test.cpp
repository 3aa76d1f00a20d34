#include "wire/messages.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/entries.hpp"

namespace syncropy {
namespace {

template <typename Message>
std::string encode(const Message& message) {
  ByteWriter out;
  put(out, message);
  return out.take();
}

FetchRequest delta_request() {
  FetchRequest request{7, "a/b", FileType::regular, true, digest_of("x"), limits::smallest_block, {}};
  request.blocks.resize(3);
  request.blocks[1][15] = 9;
  return request;
}

TEST(Messages, FetchRequestsComeBack) {
  const std::vector<FetchRequest> requests{{1, "", FileType::folder, false, {}, 0, {}}, delta_request(), {UINT32_MAX, "a/b\nc", FileType::symlink, true, {}, 0, {}}};
  const std::vector<FetchRequest> back = get_fetch(encode(requests));
  ASSERT_EQ(back.size(), requests.size());
  for (std::size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].id, requests[i].id);
    EXPECT_EQ(back[i].path, requests[i].path);
    EXPECT_EQ(back[i].type, requests[i].type);
    EXPECT_EQ(back[i].acl, requests[i].acl);
    EXPECT_EQ(back[i].known, requests[i].known);
    EXPECT_EQ(back[i].blocks, requests[i].blocks);
  }
}

TEST(Messages, FetchedFilesComeBackAndFitTheirType) {
  for (const Entry& entry : one_of_each()) {
    if (entry.flags & unread) continue;
    FetchedFile file{3, entry.stat, entry.flags, entry.details, Content::none, entry.digest, {}};
    if (entry.digest) file.content = Content::same;
    const std::string bytes = encode(file);
    const FetchedFile back = get_fetched_file(bytes);
    EXPECT_EQ(back.stat, entry.stat);
    EXPECT_EQ(back.details, entry.details);
    EXPECT_EQ(back.digest, entry.digest);
    file.content = entry.digest ? Content::none : Content::same;
    EXPECT_THROW(static_cast<void>(get_fetched_file(encode(file))), Error);
  }
  const Entry entry = file_entry("f", "abc");
  const std::string here = encode(FetchedFile{3, entry.stat, 0, entry.details, Content::here, entry.digest, {}});
  EXPECT_EQ(get_fetched_file(here + "abc").bytes, "abc");
  EXPECT_THROW(static_cast<void>(get_fetched_file(here + "ab")), Error) << "a size lie";
}

TEST(Messages, AListRequestIsSortedAndWithoutOverlap) {
  EXPECT_EQ(get_list(encode(ListRequest{{"etc", "home/a"}, {"*.o"}, true, 10})).paths.size(), 2U);
  for (const std::vector<std::string>& paths : std::vector<std::vector<std::string>>{{}, {"b", "a"}, {"a", "a"}, {"a", "a/b"}, {"", "a"}, {"../x"}, {"/etc"}})
    EXPECT_THROW(static_cast<void>(get_list(encode(ListRequest{paths, {}, false, 10}))), Error);
}

TEST(Messages, CommandsErrorsAndGreetingsComeBack) {
  const syncropy::Run run = get_run(encode(syncropy::Run{CommandKind::post, "sync; true", 60, true}));
  EXPECT_EQ(run.command, "sync; true");
  EXPECT_EQ(run.timeout_seconds, 60U);
  EXPECT_TRUE(run.run_succeeded);
  EXPECT_THROW(static_cast<void>(get_run(encode(syncropy::Run{CommandKind::pre, "", 1, false}))), Error);
  EXPECT_THROW(static_cast<void>(get_run(encode(syncropy::Run{CommandKind::pre, std::string("a\0b", 3), 1, false}))), Error);
  const Ran ran = get_ran(encode(Ran{CommandEnd::not_run, 77, "no", "ask"}));
  EXPECT_EQ(ran.text, "no");
  EXPECT_THROW(static_cast<void>(get_ran(encode(Ran{CommandEnd::not_run, 0, "", ""}))), Error) << "a failure with the status of a success";
  EXPECT_EQ(get_error(encode(ErrorMessage{ExitStatus::refused, "why", "so"})).remedy, "so");
  EXPECT_EQ(get_error(encode(ErrorMessage{ExitStatus::refused, "", ""})).status, ExitStatus::refused);
  for (const ExitStatus other : {ExitStatus::success, ExitStatus::partial, ExitStatus::not_recorded, ExitStatus::data, static_cast<ExitStatus>(9)})
    EXPECT_EQ(get_error(encode(ErrorMessage{other, "", ""})).status, ExitStatus::protocol) << "no peer knows that of this side";
  EXPECT_EQ(get_hello(encode(Hello{1, feature_zstd, "s", "h"})).features, feature_zstd);
  EXPECT_THROW(static_cast<void>(get_hello("SSH-2.0-OpenSSH")), Error);
}

TEST(Messages, DamageIsAnErrorAndNothingElse) {
  std::mt19937 random(2);
  const Entry entry = one_of_each()[2];
  const std::string samples[] = {encode(std::vector{delta_request()}), encode(FetchedFile{3, entry.stat, 0, entry.details, Content::same, entry.digest, {}}),
                                 encode(ListRequest{{"etc", "home/a"}, {"*.o"}, true, 10}), encode(syncropy::Run{CommandKind::pre, "x", 1, false}), encode(Keep{1, 2, 3}), encode(Problem{"p", "t", 5})};
  for (int i = 0; i < 50'000; ++i) {
    std::string bad = samples[random() % std::size(samples)];
    for (std::uint64_t n = 1 + random() % 3; n > 0; --n) bad[random() % bad.size()] = static_cast<char>(random());
    auto harmless = [&](auto&& read) {
      try {
        read(bad);
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), ExitStatus::protocol);
      }
    };
    harmless([](auto& b) { static_cast<void>(get_fetch(b)); });
    harmless([](auto& b) { static_cast<void>(get_fetched_file(b)); });
    harmless([](auto& b) { static_cast<void>(get_list(b)); });
    harmless([](auto& b) { static_cast<void>(get_run(b)); });
    harmless([](auto& b) { static_cast<void>(get_keep(b)); });
    harmless([](auto& b) { static_cast<void>(get_problem(b)); });
    harmless([](auto& b) { static_cast<void>(get_data(b)); });
    harmless([](auto& b) { static_cast<void>(get_listed(b)); });
    harmless([](auto& b) { static_cast<void>(get_hello(b)); });
    harmless([](auto& b) { static_cast<void>(get_error(b)); });
    harmless([](auto& b) { static_cast<void>(get_ran(b)); });
    harmless([](auto& b) { static_cast<void>(get_fetch_failed(b)); });
  }
}

}  // namespace
}  // namespace syncropy

#include "server/select.hpp"

#include <gtest/gtest.h>

#include "repository/manifest-store.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

class Select : public testing::Test {
 protected:
  Select() {
    Repository::create(path);
    repository.emplace(Repository::open(path, true));
    for (const auto& [tier, time] : {std::pair{Tier::hour, 1'795'374'300}, {Tier::day, 1'795'377'900}, {Tier::hour, 1'795'381'500}}) {
      ClientStore store = repository->client("web1");
      DatasetInfo info;
      info.client = "web1";
      info.tier = tier;
      info.name = dataset_name(time);
      info.sequence = store.next_sequence(store.datasets());
      info.started = {time, 0};
      info.entries = 1;
      Staging staging = store.begin(info.name);
      ManifestWriter writer(staging.manifest.duplicate(), nullptr, Fd(), nullptr);
      writer.add(folder_entry(""));
      writer.finish(info);
      store.publish(std::move(staging), tier);
    }
  }
  std::uint64_t sequence(const std::string& text) { return select_dataset(*repository, text).info.sequence; }
  std::string failure(const std::string& text, ExitStatus status) {
    try {
      static_cast<void>(select_dataset(*repository, text));
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), status) << text;
      return error.line();
    }
    ADD_FAILURE() << text;
    return {};
  }
  Scratch scratch;
  std::string path = scratch.path() + "/repo";
  std::optional<Repository> repository;
};

TEST_F(Select, ByClientTierNameAndTime) {
  EXPECT_EQ(sequence("web1"), 3U);
  EXPECT_EQ(sequence("web1/day"), 2U);
  EXPECT_EQ(sequence("web1/hour/2026-11-22T190500Z"), 1U);
  EXPECT_EQ(sequence("web1@2026-11-22T19:05"), 1U) << "a minute counts to its end";
  EXPECT_EQ(sequence("web1@2026-11-22T20:05:00"), 2U);
  EXPECT_EQ(sequence("web1@2026-11-22T20:04:59Z"), 1U);
  EXPECT_EQ(sequence("web1@2026-11-22"), 3U) << "a day to its end";
  EXPECT_EQ(sequence("web1@2026-11-22T200500Z"), 2U);
}

TEST_F(Select, WhatIsNotThereIsToldWithWhatIs) {
  EXPECT_NE(failure("web1/hour/2026-11-22T190501Z", ExitStatus::no_input).find("web1/hour/2026-11-22T190500Z"), std::string::npos);
  failure("web1/week", ExitStatus::no_input);
  failure("web1@2020-01-01", ExitStatus::no_input);
  failure("web2", ExitStatus::no_input);
  for (const char* text : {"", "/", "../x", "web1/year", "web1@yesterday", "web1@"}) failure(text, ExitStatus::usage);
}

TEST_F(Select, NothingIsLeftOutForDeletion) {
  for (const char* text : {"web1/hour", "web1/", "web1/hour/", "web1/hour/x/y", "web1/year/2026-11-22T190500Z", "/hour/2026-11-22T190500Z",
                           "../hour/2026-11-22T190500Z"})
    EXPECT_THROW(static_cast<void>(select_for_deletion(*repository, {"web1"}, Tier::hour, text)), Error) << text;
}

TEST_F(Select, ForDeletionBySequenceOrName) {
  EXPECT_EQ(select_for_deletion(*repository, {"web1", "never"}, Tier::hour, "3").name, "2026-11-22T210500Z");
  EXPECT_EQ(select_for_deletion(*repository, {"web1"}, Tier::hour, "2026-11-22T190500Z").name, "2026-11-22T190500Z");
  EXPECT_EQ(select_for_deletion(*repository, {"web1"}, Tier::hour, "web1/day/2026-11-22T200500Z").tier, Tier::day);
  EXPECT_THROW(static_cast<void>(select_for_deletion(*repository, {"web1"}, Tier::hour, "2")), Error) << "of another tier";
  EXPECT_THROW(static_cast<void>(select_for_deletion(*repository, {"web2"}, Tier::hour, "web1/day/2026-11-22T200500Z")), Error)
      << "not of this config";
}

}  // namespace
}  // namespace syncropy

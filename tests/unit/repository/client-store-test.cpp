#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "repository/manifest-store.hpp"
#include "repository/rename.hpp"
#include "repository/repository.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

namespace fs = std::filesystem;

class Store : public testing::Test {
 protected:
  Store() {
    Repository::create(path);
    repository.emplace(Repository::open(path, true));
    store.emplace(repository->client("web1"));
    store->lock(0);
  }

  DatasetInfo info_for(Tier tier, std::int64_t second) {
    DatasetInfo info;
    info.client = "web1";
    info.tier = tier;
    info.sequence = store->next_sequence(store->datasets());
    info.name = store->free_name(tier, second, info.sequence);
    info.started = {second, 0};
    info.entries = 1;
    return info;
  }

  Staging stage(const DatasetInfo& info) {
    Staging staging = store->begin(info.name);
    ManifestWriter writer(staging.manifest.duplicate(), nullptr, Fd(), nullptr);
    writer.add(folder_entry(""));
    writer.finish(info);
    return staging;
  }

  DatasetInfo publish(Tier tier, std::int64_t second) {
    const DatasetInfo info = info_for(tier, second);
    store->publish(stage(info), tier);
    return info;
  }

  std::string content(const std::string& file) {
    std::ifstream in(path + "/" + file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  Scratch scratch;
  std::string path = scratch.path() + "/repo";
  std::optional<Repository> repository;
  std::optional<ClientStore> store;
};

TEST_F(Store, PublishedDatasetsAreListedBySequenceWhateverTheClockSaid) {
  publish(Tier::hour, 2'000'000'000);
  publish(Tier::day, 1'000'000'000);
  publish(Tier::hour, 1'500'000'000);
  const auto all = store->datasets();
  ASSERT_EQ(all.good.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(all.good[i].info.sequence, i + 1);
  EXPECT_EQ(fs::read_symlink(path + "/web1/latest"), "hour/" + all.good[2].info.name);
  EXPECT_TRUE(all.damaged.empty());
}

TEST_F(Store, TwoOfOneSecondGetTwoNames) {
  const DatasetInfo first = publish(Tier::hour, 1'000), second = publish(Tier::hour, 1'000);
  EXPECT_EQ(second.name, first.name + ".2");
}

TEST_F(Store, WhatWasNotPublishedIsGoneAfterRecoveryAndTheRestStands) {
  const DatasetInfo kept = publish(Tier::hour, 1'000);
  static_cast<void>(stage(info_for(Tier::hour, 2'000)));
  EXPECT_EQ(store->recover(), 1U);
  EXPECT_EQ(store->recover(), 0U) << "twice does no harm";
  store->empty_trash();
  EXPECT_TRUE(fs::is_empty(path + "/web1/.trash"));
  EXPECT_TRUE(fs::is_empty(path + "/web1/.staging"));
  ASSERT_EQ(store->datasets().good.size(), 1U);
  EXPECT_EQ(store->datasets().good[0].info.name, kept.name);
}

TEST_F(Store, APublishedNameIsNeverOverwritten) {
  const DatasetInfo first = publish(Tier::hour, 1'000);
  DatasetInfo again = info_for(Tier::hour, 1'000);
  again.name = first.name;
  EXPECT_THROW(store->publish(stage(again), Tier::hour), Error);
  EXPECT_EQ(store->datasets().good[0].info.sequence, first.sequence);
}

TEST_F(Store, TheExpiredRestsAsSpareAndTheSequenceGoesOn) {
  const DatasetInfo first = publish(Tier::hour, 1'000), second = publish(Tier::hour, 2'000);
  EXPECT_EQ(store->retire(Tier::hour, second.name), RetireResult::retired);
  EXPECT_TRUE(fs::exists(path + "/web1/.spare/hour." + second.name + "/manifest/index"));
  EXPECT_EQ(store->next_sequence(store->datasets()), 3U) << "a number is not given twice";
  EXPECT_EQ(fs::read_symlink(path + "/web1/latest"), "hour/" + first.name);
  EXPECT_EQ(store->retire(Tier::hour, first.name), RetireResult::retired);
  EXPECT_FALSE(fs::exists(path + "/web1/.spare/hour." + second.name)) << "one spare a client";
  store->empty_trash();
  EXPECT_TRUE(fs::is_empty(path + "/web1/.trash"));
  EXPECT_FALSE(fs::exists(fs::symlink_status(path + "/web1/latest")));
}

TEST_F(Store, NoSequenceComesBackWhateverIsDeletedOrDamaged) {
  publish(Tier::hour, 1'000);
  const DatasetInfo second = publish(Tier::hour, 2'000), third = publish(Tier::hour, 3'000);
  EXPECT_EQ(store->retire(Tier::hour, third.name), RetireResult::retired);
  store->discard_spare();
  store->empty_trash();
  EXPECT_EQ(store->next_sequence(store->datasets()), 4U);
  EXPECT_EQ(content("web1/.sequence"), "3\nhour 1970-01-01T005000Z\n");
  // Without the file, what stands decides, and the damaged count for what they may have been.
  fs::remove(path + "/web1/.sequence");
  EXPECT_EQ(store->next_sequence(store->datasets()), 3U);
  fs::remove(path + "/web1/hour/" + second.name + "/manifest/index");
  EXPECT_EQ(store->next_sequence(store->datasets()), 3U);
  for (const char* nonsense :
       {"", "7", "x\n", "7\nx", "-7\n", "99999999999999999999\n", "18446744073709551615\n", "00000000000000000000000000000000000000000007\n"}) {
    std::ofstream(path + "/web1/.sequence") << nonsense;
    EXPECT_EQ(store->next_sequence(store->datasets()), 3U) << nonsense;
  }
  publish(Tier::hour, 4'000);
  EXPECT_EQ(content("web1/.sequence"), "3\nhour 1970-01-01T010640Z\n");
  // That of one whose publishing was cut off before it had its name, or right after it, counts too.
  std::ofstream(path + "/web1/.sequence-new") << "7\nhour 1970-01-01T010640Z\n";
  EXPECT_EQ(store->next_sequence(store->datasets()), 8U);
  EXPECT_EQ(publish(Tier::hour, 5'000).sequence, 8U);
  EXPECT_FALSE(fs::exists(path + "/web1/.sequence-new"));
}

TEST_F(Store, NoNameComesBackWhateverTheClockShows) {
  const DatasetInfo first = publish(Tier::hour, 1'000);
  publish(Tier::day, 3'000);
  publish(Tier::hour, 2'000);
  EXPECT_EQ(store->retire(Tier::hour, first.name), RetireResult::retired);
  store->discard_spare();
  store->empty_trash();
  // Back to the second of the one that has gone, and to one that never was: only of the latter kind is nobody sure, so both have a suffix.
  EXPECT_EQ(publish(Tier::hour, 1'000).name, first.name + ".4");
  EXPECT_EQ(publish(Tier::hour, 1'500).name, dataset_name(1'500, 5));
  EXPECT_EQ(publish(Tier::hour, 2'001).name, dataset_name(2'001)) << "the clock is right again";
  EXPECT_EQ(publish(Tier::week, 1'000).name, first.name) << "another tier's names are others";
  EXPECT_EQ(content("web1/.sequence"), "7\nhour 1970-01-01T003321Z\nday 1970-01-01T005000Z\nweek 1970-01-01T001640Z\n");
  // An older program wrote the number alone, or the file is lost: what stands decides, the spare included.
  for (const char* known : {"7\n", ""}) {
    std::ofstream(path + "/web1/.sequence") << known;
    EXPECT_EQ(store->free_name(Tier::hour, 2'002, 8), dataset_name(2'002));
    EXPECT_EQ(store->free_name(Tier::hour, 2'001, 8), dataset_name(2'001, 8));
    EXPECT_EQ(store->free_name(Tier::hour, 1'000, 2), first.name + ".5") << "not the name of one that stands, whatever the number";
    EXPECT_EQ(store->free_name(Tier::week, 1'000, 1), first.name + ".2");
  }
  // Only whole lines of ours are believed.
  for (const char* nonsense : {"9\nhour 2026-11-22T190500Z", "9\nyear 2026-11-22T190500Z\n", "9\nhour\n", "9\nhour 2026\n", "9\n\n"}) {
    std::ofstream(path + "/web1/.sequence") << nonsense;
    EXPECT_EQ(store->next_sequence(store->datasets()), 8U) << nonsense;
    EXPECT_EQ(store->free_name(Tier::hour, 2'002, 8), dataset_name(2'002)) << nonsense;
  }
}

TEST_F(Store, OfTwoOfOneSequenceTheOlderIsLeftAlone) {
  DatasetInfo one = info_for(Tier::hour, 1'000);
  store->publish(stage(one), Tier::hour);
  one = info_for(Tier::day, 2'000);
  one.sequence = 1;
  store->publish(stage(one), Tier::day);
  const auto all = store->datasets();
  ASSERT_EQ(all.good.size(), 1U);
  EXPECT_EQ(all.good[0].info.tier, Tier::day);
  ASSERT_EQ(all.damaged.size(), 1U);
  EXPECT_NE(all.damaged[0].why.find("day/"), std::string::npos);
}

// Who took a dataset for damaged that only could not be opened just now would take it out of the catalog and give its sequence away.
TEST_F(Store, WithoutDescriptorsNothingIsDamaged) {
  publish(Tier::hour, 1'000);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  unsigned refused = 0;
  for (rlim_t most = 3; most < 40; ++most) {
    const rlimit less{most, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &less), 0);
    try {
      const auto all = store->datasets();
      EXPECT_EQ(all.good.size(), 1U);
      EXPECT_TRUE(all.damaged.empty()) << most << ": " << all.damaged[0].why;
    } catch (const Error& error) {
      EXPECT_NE(error.status(), ExitStatus::data) << error.what();
      ++refused;
    }
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  }
  EXPECT_GE(refused, 3U);
}

TEST_F(Store, WhoReadsADatasetKeepsIt) {
  const DatasetInfo info = publish(Tier::hour, 1'000);
  {
    const Fd reader = repository->client("web1").open_dataset(Tier::hour, info.name);
    EXPECT_EQ(store->retire(Tier::hour, info.name), RetireResult::in_use);
  }
  EXPECT_EQ(store->retire(Tier::hour, info.name), RetireResult::retired);
}

// CephFS, and ZFS before 2.2.
TEST_F(Store, WhereRenamingWithoutReplacingIsUnknown) {
  static unsigned refused;
  refused = 0;
  struct Unknown {
    RenameCall before = replace_rename_call([](int, const char*, int, const char*, unsigned) {
      ++refused;
      errno = EINVAL;
      return -1;
    });
    ~Unknown() { replace_rename_call(before); }
  } const unknown;
  const DatasetInfo first = publish(Tier::hour, 1'000), second = publish(Tier::hour, 2'000);
  DatasetInfo again = info_for(Tier::hour, 1'000);
  again.name = first.name;
  EXPECT_THROW(store->publish(stage(again), Tier::hour), Error) << "never over something else";
  EXPECT_EQ(store->recover(), 1U);
  EXPECT_EQ(store->retire(Tier::hour, first.name), RetireResult::retired);
  EXPECT_EQ(store->retire(Tier::hour, second.name), RetireResult::retired);
  EXPECT_TRUE(fs::exists(path + "/web1/.trash/2")) << "each its own place in the trash";
  store->empty_trash();
  EXPECT_TRUE(fs::exists(path + "/web1/.spare/hour." + second.name));
  EXPECT_GE(refused, 6U);
}

TEST_F(Store, OneRunAtATime) {
  ClientStore other = repository->client("web1");
  try {
    other.lock(0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::busy);
  }
  store.reset();
  EXPECT_NO_THROW(other.lock(0));
}

TEST_F(Store, ADamagedManifestIsReportedAndLeftAlone) {
  const DatasetInfo good = publish(Tier::hour, 1'000), bad = publish(Tier::hour, 2'000);
  const std::string index = path + "/web1/hour/" + bad.name + "/manifest/index";
  fs::permissions(index, fs::perms::owner_all);
  std::fstream(index, std::ios::in | std::ios::out | std::ios::binary).seekp(30).put('\xff');
  const auto all = store->datasets();
  ASSERT_EQ(all.good.size(), 1U);
  ASSERT_EQ(all.damaged.size(), 1U);
  EXPECT_EQ(all.damaged[0].name, bad.name);
  // A dataset that was moved by hand to another name is not what its manifest says.
  fs::rename(path + "/web1/hour/" + good.name, path + "/web1/hour/2020-01-01T000000Z");
  EXPECT_TRUE(store->datasets().good.empty());
}

}  // namespace
}  // namespace syncropy

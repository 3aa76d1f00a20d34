// A whole run within one process: the real server, the real agent in a thread, a unix socket between them, the embedded catalog. So the
// sanitizers see both ends and every thread.

#include "server/run.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "agent/session.hpp"
#include "catalog/catalog.hpp"
#include "repository/manifest-store.hpp"
#include "restore/session.hpp"
#include "sd/journal.hpp"
#include "server/record.hpp"
#include "server/restore.hpp"
#include "server/select.hpp"
#include "tests/support/scratch.hpp"
#include "util/folder.hpp"

namespace syncropy {
namespace {

namespace fs = std::filesystem;

class InProcessAgent {
 public:
  explicit InProcessAgent(std::string path) : listeners_(listen_on(path, 0)), thread_([this] { accept(); }) {}
  ~InProcessAgent() {
    stop_ = true;
    thread_.join();
  }
  AgentPolicy policy;

 private:
  void accept() {
    const Fd root(::open("/", O_RDONLY | O_DIRECTORY));
    while (!stop_) {
      pollfd readable{listeners_[0].get(), POLLIN, 0};
      if (::poll(&readable, 1, 20) <= 0) continue;
      try {
        SecuredStream stream = plain_stream(accept_from(listeners_[0].get()), 10);
        Activity activity;
        serve_session(stream, policy, root, activity, stopping_);
      } catch (const Error&) {
        // What the server makes of it is what the test looks at.
      }
    }
  }
  std::vector<Fd> listeners_;
  const Event stopping_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// One repository for all tests of this process: an embedded engine has one folder for its locks.
const std::string& shared_repository() {
  static const Scratch scratch;
  static const std::string path = [] {
    std::string made = scratch.path() + "/repo";
    Repository::create(made);
    return made;
  }();
  return path;
}

class RunTest : public testing::Test {
 protected:
  RunTest() {
    open_log("run-test", Priority::error);
    ::chmod(scratch.path().c_str(), 0755);
    fs::create_directory(source);
    settings.repository = shared_repository();
    settings.database.dbname = settings.repository + "/.syncropy/catalog.fdb";
    settings.hour = 3;
    ClientSettings client;
    client.name = testing::UnitTest::GetInstance()->current_test_info()->name();
    client.host = scratch.path() + "/agent.sock";
    client.ssl = false;
    client.stall_timeout = 10;
    client.paths = {source};
    settings.clients = {client};
  }

  ClientSettings& client() { return settings.clients[0]; }
  ExitStatus back_up(Tier tier = Tier::hour) { return run(settings, {tier, false, {}, 5}); }
  ClientStore store() { return Repository::open(settings.repository, true).client(client().name); }
  DatasetInfo newest() { return store().datasets().good.back().info; }
  std::string tree(const DatasetInfo& info) { return settings.repository + "/" + info.client + "/" + std::string(name_of(info.tier)) + "/" + info.name + "/tree"; }
  std::string stored(const std::string& name) { return tree(newest()) + source + "/" + name; }
  void write(const std::string& name, const std::string& content) { std::ofstream(source + "/" + name, std::ios::binary) << content; }
  static std::string read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static ino_t inode(const std::string& path) {
    struct stat st{};
    return ::lstat(path.c_str(), &st) == 0 ? st.st_ino : 0;
  }
  std::map<std::string, Entry> manifest(const DatasetInfo& info) {
    const Fd dataset = store().open_dataset(info.tier, info.name);
    ManifestReader reader(open_beneath(dataset.get(), "manifest", O_RDONLY | O_DIRECTORY), "the manifest");
    std::map<std::string, Entry> entries;
    Entry entry;
    while (reader.next(entry)) entries[entry.path] = entry;
    return entries;
  }
  // What the catalog shows for a dataset, as "path digest"; and what its manifest says.
  void expect_catalog_to_equal_manifests() {
    const Repository repository = Repository::open(settings.repository, false);
    Catalog catalog = Catalog::open_existing(catalog_location(settings.database, repository));
    for (const StoredDataset& dataset : store().datasets().good) {
      std::map<std::string, std::string> shown, said;
      for (const auto& row : catalog.query("SELECT path, digest FROM files WHERE client = '" + dataset.info.client + "' AND sequence_number = " + std::to_string(dataset.info.sequence), 100'000).rows)
        shown[row[0]] = row[1];
      for (const auto& [path, entry] : manifest(dataset.info)) said["/" + path] = entry.digest ? to_hex(*entry.digest) : "";
      EXPECT_EQ(shown, said) << "sequence " << dataset.info.sequence;
    }
  }
  // Out of the two seconds in which an entry counts as racy.
  void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(3'100)); }

  Scratch scratch;
  std::string source = scratch.path() + "/source";
  ServerSettings settings;
  InProcessAgent agent{scratch.path() + "/agent.sock"};
};

TEST_F(RunTest, ATreeComesOverWholeAndUnchangedFilesAreLinked) {
  for (int d = 0; d < 30; ++d) {
    fs::create_directory(source + "/d" + std::to_string(d));
    for (int f = 0; f < 30; ++f) write("d" + std::to_string(d) + "/f" + std::to_string(f), std::to_string(d * f));
  }
  write("large", std::string(6U << 20, 'L'));
  fs::create_symlink("d1/f1", source + "/link");
  fs::create_hard_link(source + "/d2/f2", source + "/second-name");
  settle();
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(read(stored("d29/f29")), "841");
  EXPECT_EQ(read(stored("large")), std::string(6U << 20, 'L'));
  EXPECT_EQ(fs::read_symlink(stored("link")), "d1/f1");
  EXPECT_EQ(inode(stored("second-name")), inode(stored("d2/f2")));
  const std::string first = tree(newest()) + source;

  write("d3/f3", "changed");
  fs::remove(source + "/d4/f4");
  fs::rename(source + "/d5", source + "/moved");
  write("brand-new", "new");
  ASSERT_EQ(back_up(Tier::day), ExitStatus::success);
  EXPECT_EQ(inode(stored("d0/f7")), inode(first + "/d0/f7")) << "of another tier, and still the same inode";
  EXPECT_EQ(read(stored("d3/f3")), "changed");
  EXPECT_EQ(read(first + "/d3/f3"), "9");
  EXPECT_FALSE(fs::exists(stored("d4/f4")));
  EXPECT_FALSE(fs::exists(stored("d5")));
  EXPECT_EQ(read(stored("moved/f6")), "30");
  EXPECT_EQ(inode(stored("second-name")), inode(stored("d2/f2")));
  EXPECT_EQ(newest().new_files, 32U) << "30 in the moved folder, one changed, one new";
  expect_catalog_to_equal_manifests();
}

TEST_F(RunTest, AttributesAloneTransferNoContent) {
  write("f", std::string(100'000, 'f'));
  write("large", std::string(6U << 20, 'L'));
  settle();
  ASSERT_EQ(back_up(), ExitStatus::success);
  const ino_t before = inode(stored("f")), large_before = inode(stored("large"));
  fs::permissions(source + "/f", fs::perms::owner_read);
  fs::permissions(source + "/large", fs::perms::owner_read);
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(inode(stored("f")), before);
  EXPECT_EQ(inode(stored("large")), large_before);
  EXPECT_EQ(newest().new_files, 0U);
  EXPECT_EQ(manifest(newest())[(source + "/f").substr(1)].stat.mode, 0400);
}

TEST_F(RunTest, ARewriteWithinTheSameSecondIsCaught) {
  write("f", "one");
  const auto time = fs::last_write_time(source + "/f");
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_TRUE(manifest(newest())[(source + "/f").substr(1)].flags & racy);
  write("f", "two");
  fs::last_write_time(source + "/f", time);
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(read(stored("f")), "two");
}

TEST_F(RunTest, WhatTheStoreHasLostIsFetchedAgain) {
  write("f", "precious");
  write("g", "other");
  settle();
  ASSERT_EQ(back_up(), ExitStatus::success);
  fs::remove(stored("f"));
  fs::permissions(stored("g"), fs::perms::owner_all);
  std::ofstream(stored("g")) << "meddled with";
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(read(stored("f")), "precious");
  EXPECT_EQ(read(stored("g")), "other");
}

TEST_F(RunTest, HardLinkGroupsGrowAndShrink) {
  write("a", "shared");
  fs::create_hard_link(source + "/a", source + "/b");
  settle();
  ASSERT_EQ(back_up(), ExitStatus::success);
  for (int i = 0; i < 200; ++i) fs::create_hard_link(source + "/a", source + "/c" + std::to_string(i));
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(newest().new_files, 0U);
  for (const char* name : {"a", "b", "c0", "c199"}) EXPECT_EQ(inode(stored(name)), inode(stored("a"))) << name;
  fs::remove(source + "/b");
  write("b", "alone");
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(read(stored("b")), "alone");
  EXPECT_EQ(inode(stored("c5")), inode(stored("a")));
  EXPECT_NE(inode(stored("b")), inode(stored("a")));
  expect_catalog_to_equal_manifests();
}

// A new name of an inode that is stored already, before and behind the unchanged one in the listing: no transfer, one inode.
TEST_F(RunTest, ARenamedFolderKeepsItsHardLinksTogether) {
  fs::create_directories(source + "/m");
  fs::create_directories(source + "/first");
  fs::create_directories(source + "/second");
  write("m/one", "content of one");
  write("m/two", "content of two");
  fs::create_hard_link(source + "/m/one", source + "/first/one");
  fs::create_hard_link(source + "/m/two", source + "/second/two");
  settle();
  ASSERT_EQ(back_up(), ExitStatus::success);
  const ino_t one = inode(stored("m/one"));
  fs::rename(source + "/first", source + "/zzz");
  fs::rename(source + "/second", source + "/aaa");
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(inode(stored("zzz/one")), inode(stored("m/one")));
  EXPECT_EQ(inode(stored("m/one")), one);
  EXPECT_EQ(inode(stored("aaa/two")), inode(stored("m/two")));
  EXPECT_EQ(read(stored("aaa/two")), "content of two");
  expect_catalog_to_equal_manifests();
}

TEST_F(RunTest, RetentionKeepsTheNewestAndTheCatalogFollows) {
  for (int i = 0; i < 6; ++i) {
    write("f", "version " + std::to_string(i));
    write("g" + std::to_string(i), "x");
    ASSERT_EQ(back_up(), ExitStatus::success);
  }
  const auto all = store().datasets().good;
  ASSERT_EQ(all.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(all[i].info.sequence, i + 4);
    EXPECT_EQ(read(tree(all[i].info) + source + "/f"), "version " + std::to_string(i + 3));
  }
  expect_catalog_to_equal_manifests();
}

// The newest dataset is deleted: what it had changed is as before again, and the next difference is to the one before.
TEST_F(RunTest, TheCatalogStaysRightWhenTheNewestDatasetIsDeleted) {
  write("stays", "x");
  write("changes", "one");
  ASSERT_EQ(back_up(), ExitStatus::success);
  write("changes", "two");
  fs::remove(source + "/stays");
  ASSERT_EQ(back_up(), ExitStatus::success);
  {
    ClientStore locked = store();
    locked.lock(0);
    ASSERT_EQ(locked.retire(Tier::hour, newest().name), RetireResult::retired);
  }
  write("changes", "one");
  write("stays", "x");
  ASSERT_EQ(back_up(), ExitStatus::success);
  expect_catalog_to_equal_manifests();
}

TEST_F(RunTest, AMissingPathEndsTheRunAndLeavesNothing) {
  ASSERT_EQ(back_up(), ExitStatus::success);
  client().paths = {source, scratch.path() + "/none"};
  EXPECT_EQ(back_up(), ExitStatus::no_input);
  EXPECT_EQ(store().datasets().good.size(), 1U);
  EXPECT_TRUE(fs::is_empty(settings.repository + "/" + client().name + "/.staging"));
  agent.policy.read = {"/somewhere/else"};
  client().paths = {source};
  EXPECT_EQ(back_up(), ExitStatus::refused);
  EXPECT_EQ(store().datasets().good.size(), 1U);
}

TEST_F(RunTest, AFailedPreCommandTakesNoBackupAndThePostCommandStillRuns) {
  agent.policy.commands = CommandPolicy::any;
  client().pre_command = "exit 1";
  client().post_command = "echo $SYNCROPY_RESULT > " + scratch.path() + "/post";
  EXPECT_EQ(back_up(), ExitStatus::command);
  EXPECT_TRUE(store().datasets().good.empty());
  EXPECT_EQ(read(scratch.path() + "/post"), "failure\n");
  client().pre_command = "touch " + source + "/made-by-pre";
  EXPECT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(read(scratch.path() + "/post"), "success\n");
  EXPECT_TRUE(fs::exists(stored("made-by-pre")));
}

TEST_F(RunTest, AQuotaIsNamedAndKept) {
  for (int i = 0; i < 20; ++i) write("f" + std::to_string(i), "0123456789");
  client().max_entries = 10;
  EXPECT_EQ(back_up(), ExitStatus::protocol);
  client().max_entries = 1'000;
  client().max_bytes = 100;
  EXPECT_EQ(back_up(), ExitStatus::protocol);
  client().max_bytes = INT64_MAX;
  EXPECT_EQ(back_up(), ExitStatus::success);
}

TEST_F(RunTest, ARestoreBringsEverythingBackAndASecondOneFindsItThere) {
  for (int d = 0; d < 20; ++d) {
    fs::create_directory(source + "/d" + std::to_string(d));
    for (int f = 0; f < 40; ++f) write("d" + std::to_string(d) + "/f" + std::to_string(f), std::string(static_cast<std::size_t>(d * f * 10), 'x'));
  }
  write("large", std::string(6U << 20, 'L'));
  fs::create_symlink("d1/f1", source + "/link");
  for (int n = 0; n < 50; ++n) fs::create_hard_link(source + "/d2/f2", source + "/d" + std::to_string(n % 20) + "/name" + std::to_string(n));
  ASSERT_EQ(back_up(), ExitStatus::success);

  const std::string target = scratch.path() + "/target";
  fs::create_directory(target);
  auto restored = [&](Existing existing, bool remove_others = false) {
    auto [ours, theirs] = socket_pair();
    const Fd root(::open(target.c_str(), O_RDONLY | O_DIRECTORY));
    std::thread worker([&root, stream = plain_stream(std::move(theirs), 10)] { serve_restore(*stream.stream, {{"/"}, {}}, root); });
    RestoreCounts counts;
    {
      AgentSession session(plain_stream(std::move(ours), 10), "the worker", false);
      DatasetSource from(SelectedDataset{store(), newest()});
      RestoreRules rules;
      rules.existing = existing;
      rules.remove_others = remove_others;
      RestoreProgress progress;
      counts = restore(session, from, rules, {}, progress, {});
    }
    worker.join();
    return counts;
  };
  RestoreCounts counts = restored(Existing::fail);
  const std::uint64_t entries = newest().entries;
  EXPECT_EQ(counts.created + counts.adjusted + counts.same, entries);
  EXPECT_EQ(counts.failed + counts.incomplete + counts.conflicts, 0U);
  EXPECT_EQ(read(target + source + "/large"), std::string(6U << 20, 'L'));
  EXPECT_EQ(inode(target + source + "/d19/name39"), inode(target + source + "/d2/f2"));

  counts = restored(Existing::fail);
  EXPECT_EQ(counts.same, entries);
  EXPECT_EQ(counts.bytes, 0U);

  fs::remove(target + source + "/d7/f7");
  fs::remove(target + source + "/d2/f2");
  std::ofstream(target + source + "/d8/f8") << "other";
  std::ofstream(target + source + "/extra") << "not in the dataset";
  EXPECT_EQ(restored(Existing::fail).conflicts, 1U);
  counts = restored(Existing::replace, true);
  EXPECT_EQ(counts.created, 2U);
  EXPECT_EQ(counts.replaced, 1U);
  EXPECT_EQ(counts.removed, 1U);
  EXPECT_FALSE(fs::exists(target + source + "/extra"));
  EXPECT_EQ(inode(target + source + "/d19/name39"), inode(target + source + "/d2/f2"));
}

TEST_F(RunTest, CompressedTransferBringsTheSame) {
  client().compress = true;
  std::string content;
  for (std::uint64_t i = 0; content.size() < 3'000'000; ++i) content += std::to_string(i * 7919);
  write("large", content);
  write("small", "small");
  ASSERT_EQ(back_up(), ExitStatus::success);
  EXPECT_EQ(read(stored("large")), content);
  EXPECT_EQ(read(stored("small")), "small");
}

}  // namespace
}  // namespace syncropy

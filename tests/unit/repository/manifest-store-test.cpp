#include "repository/manifest-store.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <thread>

#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

class ManifestStore : public testing::Test {
 protected:
  Fd folder(const std::string& name) {
    ::mkdir((scratch.path() + "/" + name).c_str(), 0700);
    return Fd(::open((scratch.path() + "/" + name).c_str(), O_RDONLY | O_DIRECTORY));
  }

  void write(const std::string& name, const std::vector<Entry>& entries, const std::string& previous = {}, SegmentFeed* feed = nullptr) {
    std::optional<ManifestIndex> index;
    if (!previous.empty()) index = read_index(folder(previous).get(), previous);
    ManifestWriter writer(folder(name), index ? &*index : nullptr, previous.empty() ? Fd() : folder(previous), feed);
    for (const Entry& entry : entries) writer.add(entry);
    DatasetInfo info;
    info.client = "web1";
    info.name = "2026-11-22T190500Z";
    info.sequence = 1;
    info.entries = entries.size();
    writer.finish(info);
  }

  std::string changes(const std::string& before, const std::string& after) {
    ManifestReader left(folder(before), before), right(folder(after), after);
    std::string text;
    compare_manifests(left, right,
                      {[&](const Entry& gone) { text += "-" + gone.path + " "; }, [&](const Entry&, const Entry& is) { text += "~" + is.path + " "; },
                       [&](const Entry& added) { text += "+" + added.path + " "; }});
    return text;
  }

  static std::vector<Entry> tree() {
    std::vector<Entry> entries{folder_entry("")};
    for (int d = 1'000; d < 2'000; ++d) {
      const std::string name = "d" + std::to_string(d);
      entries.push_back(folder_entry(name));
      for (int f = 10; f < 20; ++f) entries.push_back(file_entry(name + "/f" + std::to_string(f), "x"));
    }
    return entries;
  }

  Scratch scratch;
};

TEST_F(ManifestStore, IsReadWhileItIsWritten) {
  const std::vector<Entry> entries = tree();
  SegmentFeed feed;
  std::vector<Entry> read;
  folder("one");
  std::thread reader([&] {
    ManifestReader following(folder("one"), "one", feed);
    Entry entry;
    while (following.next(entry)) read.push_back(entry);
  });
  write("one", entries, {}, &feed);
  feed.finish();
  reader.join();
  EXPECT_EQ(read, entries);
}

TEST_F(ManifestStore, AReaderOfWhatIsAbandonedGetsAnError) {
  SegmentFeed feed;
  ManifestReader following(folder("one"), "one", feed);
  std::thread writer([&] { feed.abandon(); });
  Entry entry;
  EXPECT_THROW(static_cast<void>(following.next(entry)), Error);
  writer.join();
}

TEST_F(ManifestStore, AllEntriesComeBackAndAPathIsFoundQuickly) {
  const std::vector<Entry> entries = tree();
  write("one", entries);
  ManifestReader reader(folder("one"), "one");
  std::vector<Entry> back;
  Entry entry;
  while (reader.next(entry)) back.push_back(entry);
  EXPECT_EQ(back, entries);
  ManifestReader seeking(folder("one"), "one");
  seeking.seek("d1900/f15");
  entry = {};
  std::size_t read = 0;
  while (entry.path != "d1900/f15" && seeking.next(entry)) ++read;
  EXPECT_EQ(entry.path, "d1900/f15");
  EXPECT_LT(read, 5'000U);
}

TEST_F(ManifestStore, EqualSegmentsAreOneFile) {
  std::vector<Entry> entries = tree();
  write("one", entries);
  entries[5'000].stat.mode = 0600;
  write("two", entries, "one");
  std::size_t shared = 0, own = 0;
  for (const auto& file : std::filesystem::directory_iterator(scratch.path() + "/two"))
    if (file.path().extension() == ".zst") ++(file.hard_link_count() == 2 ? shared : own);
  EXPECT_EQ(own, 1U);
  EXPECT_GT(shared, 3U);
}

TEST_F(ManifestStore, TheDifferenceIsWhatChanged) {
  std::vector<Entry> entries = tree();
  write("one", entries);
  EXPECT_EQ(changes("one", "one"), "");
  entries[20].flags = racy;
  write("two", entries, "one");
  EXPECT_EQ(changes("one", "two"), "") << "how it was read is not what it is";
  const std::string changed = entries[5'000].path, gone = entries[7'001].path;
  entries[5'000].stat.uid = 7;
  entries.erase(entries.begin() + 7'001);
  entries.push_back(file_entry("zz", "new"));
  write("three", entries, "two");
  EXPECT_EQ(changes("two", "three"), "~" + changed + " -" + gone + " +zz ");
  EXPECT_EQ(changes("three", "two"), "~" + changed + " +" + gone + " -zz ");
}

TEST_F(ManifestStore, AMissingOrDamagedSegmentIsNamed) {
  write("one", tree());
  for (const auto& file : std::filesystem::directory_iterator(scratch.path() + "/one"))
    if (file.path().extension() == ".zst") {
      std::filesystem::remove(file.path());
      break;
    }
  ManifestReader reader(folder("one"), "web1/hour/x");
  Entry entry;
  try {
    while (reader.next(entry)) {}
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::data);
    EXPECT_TRUE(std::string(error.what()).starts_with("web1/hour/x/manifest/"));
  }
}

}  // namespace
}  // namespace syncropy

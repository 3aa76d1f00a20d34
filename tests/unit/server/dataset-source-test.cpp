#include "server/dataset-source.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "repository/manifest-store.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

using Names = std::vector<std::string>;

// etc/{cron.d/{a,b},hosts,nginx/{conf.d/x,nginx.conf},nginx.bak}, home/{anna/{cache/{deep/y,z},notes},ben/notes}, lib -> usr/lib, usr/lib/so
class DatasetSourceTest : public testing::Test {
 protected:
  DatasetSourceTest() {
    for (const char* folder : {"tree", "manifest"}) EXPECT_EQ(::mkdir((scratch.path() + "/" + folder).c_str(), 0700), 0);
    const Names folders{"", "etc", "etc/cron.d", "etc/nginx", "etc/nginx/conf.d", "home", "home/anna", "home/anna/cache", "home/anna/cache/deep", "home/ben", "usr", "usr/lib"};
    const Names files{"etc/cron.d/a", "etc/cron.d/b", "etc/hosts", "etc/nginx/conf.d/x", "etc/nginx/nginx.conf", "etc/nginx.bak", "home/anna/cache/deep/y",
                      "home/anna/cache/z", "home/anna/notes", "home/ben/notes", "usr/lib/so"};
    std::vector<Entry> entries;
    for (const std::string& path : folders) {
      entries.push_back(folder_entry(path));
      if (path.empty()) continue;
      EXPECT_EQ(::mkdir((scratch.path() + "/tree/" + path).c_str(), 0700), 0);
    }
    for (const std::string& path : files) {
      entries.push_back(file_entry(path, path));
      create_file(AT_FDCWD, scratch.path() + "/tree/" + path, path, 0400);
    }
    entries.push_back(folder_entry("lib"));
    entries.back().stat.type = FileType::symlink;
    entries.back().stat.size = 7;
    entries.back().details.link_target = "usr/lib";
    std::sort(entries.begin(), entries.end(), [](const Entry& left, const Entry& right) { return compare_paths(left.path, right.path) < 0; });
    ManifestWriter writer(Fd(::open((scratch.path() + "/manifest").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), nullptr, Fd(), nullptr);
    for (const Entry& entry : entries) writer.add(entry);
    DatasetInfo info;
    info.client = "web1";
    info.name = "2026-11-22T190500Z";
    info.sequence = 1;
    info.entries = entries.size();
    writer.finish(info);
  }

  // The paths that are chosen, those on the way in brackets.
  Names chosen(Selection selection) {
    const DatasetSource source = DatasetSource::from_folder(scratch.path());
    SelectedEntries entries(source, selection);
    Names names;
    for (ChosenEntry one; entries.next(one);) names.push_back(one.on_the_way ? "(" + one.entry.path + ")" : one.entry.path);
    return names;
  }
  std::string failure(Selection selection, ExitStatus status) {
    try {
      chosen(std::move(selection));
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), status) << error.line();
      return error.line();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }
  Scratch scratch;
};

TEST_F(DatasetSourceTest, EverythingInOrder) {
  const Names all = chosen({});
  EXPECT_EQ(all.size(), 24U);
  EXPECT_EQ(all.front(), "");
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const auto& left, const auto& right) { return compare_paths(left, right) < 0; }));
  EXPECT_EQ(chosen({{"/"}, {}, {}}), all);
  EXPECT_EQ(chosen({{"etc", "/", "home"}, {}, {}}), all);
}

TEST_F(DatasetSourceTest, PathsShareTheFoldersAboveThem) {
  EXPECT_EQ(chosen({{"/etc/nginx/conf.d/", "etc/hosts", "home/ben"}, {}, {}}),
            (Names{"()", "(etc)", "etc/hosts", "(etc/nginx)", "etc/nginx/conf.d", "etc/nginx/conf.d/x", "(home)", "home/ben", "home/ben/notes"}));
  EXPECT_EQ(chosen({{"etc/nginx/nginx.conf", "etc/nginx/conf.d/x", "etc/nginx.bak"}, {}, {}}),
            (Names{"()", "(etc)", "(etc/nginx)", "(etc/nginx/conf.d)", "etc/nginx/conf.d/x", "etc/nginx/nginx.conf", "etc/nginx.bak"}));
}

TEST_F(DatasetSourceTest, APathInsideAnotherOrTwiceComesOnce) {
  const Names nginx{"()", "(etc)", "etc/nginx", "etc/nginx/conf.d", "etc/nginx/conf.d/x", "etc/nginx/nginx.conf"};
  EXPECT_EQ(chosen({{"etc/nginx/conf.d/x", "etc/nginx", "/etc/nginx/"}, {}, {}}), nginx);
  EXPECT_EQ(chosen({{"etc/nginx"}, {}, {}}), nginx) << "and not nginx.bak, which begins the same";
}

TEST_F(DatasetSourceTest, Includes) {
  EXPECT_EQ(chosen({{}, {"notes"}, {}}), (Names{"()", "(home)", "(home/anna)", "home/anna/notes", "(home/ben)", "home/ben/notes"}));
  EXPECT_EQ(chosen({{}, {"conf.d/"}, {}}), (Names{"()", "(etc)", "(etc/nginx)", "etc/nginx/conf.d", "etc/nginx/conf.d/x"})) << "with all in it";
  EXPECT_EQ(chosen({{"home"}, {"/home/anna/cache", "*.conf"}, {}}),
            (Names{"()", "(home)", "(home/anna)", "home/anna/cache", "home/anna/cache/deep", "home/anna/cache/deep/y", "home/anna/cache/z"}));
  EXPECT_EQ(chosen({{}, {"never"}, {}}), Names{}) << "no folder on a way to nothing";
}

TEST_F(DatasetSourceTest, AnIncludedFolderAboveAPathIncludesIt) {
  EXPECT_EQ(chosen({{"home/ben"}, {"home"}, {}}), (Names{"()", "(home)", "home/ben", "home/ben/notes"}));
  EXPECT_EQ(chosen({{"home/ben", "etc/hosts"}, {"/home"}, {}}), (Names{"()", "(home)", "home/ben", "home/ben/notes"}));
  EXPECT_EQ(chosen({{"home/ben"}, {"anna"}, {}}), Names{});
}

TEST_F(DatasetSourceTest, Excludes) {
  EXPECT_EQ(chosen({{"home"}, {}, {"cache"}}), (Names{"()", "home", "home/anna", "home/anna/notes", "home/ben", "home/ben/notes"}));
  EXPECT_EQ(chosen({{"home", "etc/cron.d"}, {}, {"anna", "b"}}), (Names{"()", "(etc)", "etc/cron.d", "etc/cron.d/a", "home", "home/ben", "home/ben/notes"}));
  EXPECT_EQ(chosen({{"home/anna"}, {}, {"home", "cache"}}), (Names{"()", "(home)", "home/anna", "home/anna/notes"})) << "a pattern for what is above a path does not count";
  EXPECT_EQ(chosen({{}, {"anna"}, {"deep", "notes"}}), (Names{"()", "(home)", "home/anna", "home/anna/cache", "home/anna/cache/z"})) << "excludes win";
  EXPECT_EQ(chosen({{"home/anna/cache"}, {}, {"cache"}}), Names{});
}

TEST_F(DatasetSourceTest, WhatIsNotThereIsToldWithWhatIsNear) {
  EXPECT_NE(failure({{"etc/nginx/sites/x"}, {}, {}}, ExitStatus::no_input).find("nearest folder that is there is /etc/nginx;"), std::string::npos);
  EXPECT_NE(failure({{"never"}, {}, {}}, ExitStatus::no_input).find("is /;"), std::string::npos);
  EXPECT_NE(failure({{"lib/so"}, {}, {}}, ExitStatus::no_input).find("/lib is a symbolic link to usr/lib"), std::string::npos);
  EXPECT_NE(failure({{"etc", "never\x1b"}, {}, {}}, ExitStatus::no_input).find("never\\x1b"), std::string::npos);
  for (const char* text : {"../etc", "etc/./x", "etc//hosts"}) failure({{text}, {}, {}}, ExitStatus::usage);
  failure({{}, {"/"}, {}}, ExitStatus::config);
}

TEST_F(DatasetSourceTest, Content) {
  DatasetSource source = DatasetSource::from_folder(scratch.path());
  int code = 0;
  const Fd file = source.open_content(file_entry("etc/nginx/conf.d/x", "etc/nginx/conf.d/x"), code);
  ASSERT_TRUE(file);
  EXPECT_EQ(read_all(file.get(), 100, ExitStatus::io, "x"), "etc/nginx/conf.d/x");
  EXPECT_FALSE(source.open_content(file_entry("etc/hosts", "longer than stored"), code));
  EXPECT_EQ(code, EBADMSG);
  EXPECT_FALSE(source.open_content(file_entry("etc/never", ""), code));
  EXPECT_EQ(code, ENOENT);
  EXPECT_FALSE(source.open_content(file_entry("etc/cron.d", ""), code)) << "a folder in its place";
  ASSERT_EQ(::symlink("hosts", (scratch.path() + "/tree/etc/planted").c_str()), 0);
  ASSERT_EQ(::symlink("etc", (scratch.path() + "/tree/planted").c_str()), 0);
  EXPECT_FALSE(source.open_content(file_entry("etc/planted", "etc/hosts"), code)) << "no link is followed";
  EXPECT_FALSE(source.open_content(file_entry("planted/hosts", "etc/hosts"), code));
  EXPECT_TRUE(source.open_content(file_entry("home/ben/notes", "home/ben/notes"), code)) << "after a failure too";
}

TEST_F(DatasetSourceTest, AFolderThatIsNoDataset) {
  for (const std::string& folder : {scratch.path() + "/tree", scratch.path() + "/nothing", std::string("/dev/null")}) {
    try {
      static_cast<void>(DatasetSource::from_folder(folder));
      ADD_FAILURE() << folder;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::no_input) << error.line();
    }
  }
}

}  // namespace
}  // namespace syncropy

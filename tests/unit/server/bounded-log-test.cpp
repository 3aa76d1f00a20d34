#include "server/bounded-log.hpp"

#include <gtest/gtest.h>

#include <set>

namespace syncropy {
namespace {

struct Told {
  std::vector<std::string> lines;
  std::vector<std::size_t> fields;
  std::multiset<std::string> paths;
  PathLog log{"could not be read", [this](const std::string& text, const std::vector<LogField>& of_line) {
                lines.push_back(text);
                fields.push_back(of_line.size());
                for (const LogField& field : of_line) {
                  EXPECT_EQ(field.name, "SYNCROPY_PATH");
                  paths.insert(field.value);
                }
              }};
  void add(unsigned count, const std::string& path = "/data/") {
    for (unsigned i = 0; i < count; ++i) log.add(path + std::to_string(i), "cannot open " + path + std::to_string(i));
    log.finish();
  }
};

TEST(PathLog, AFewHaveALineEach) {
  Told told;
  told.add(20);
  EXPECT_EQ(told.lines.size(), 20U);
  EXPECT_EQ(told.lines.back(), "cannot open /data/19");
  EXPECT_EQ(told.paths.count("/data/19"), 1U);
}

TEST(PathLog, ThousandsAreAllNamedOnceInFewLines) {
  Told told;
  told.add(5'000);
  EXPECT_EQ(told.paths.size(), 5'000U);
  EXPECT_EQ(std::set(told.paths.begin(), told.paths.end()).size(), 5'000U);
  ASSERT_EQ(told.lines.size(), 20U + 11);
  EXPECT_EQ(told.lines[20], "480 more could not be read; the first: cannot open /data/20");
  EXPECT_EQ(told.lines[30].substr(0, 9), "180 more ");
}

TEST(PathLog, OneThatIsLeftIsNoGroup) {
  Told told;
  told.add(21);
  EXPECT_EQ(told.lines.back(), "cannot open /data/20");
}

TEST(PathLog, AMillionIsFewerThanAHundredLines) {
  Told told;
  told.add(1'000'000);
  EXPECT_LT(told.lines.size(), 100U);
  EXPECT_EQ(told.paths.size(), 20U + 60 * 480);
  EXPECT_EQ(told.lines.back(), "971,180 more could not be read; they are not named here");
}

TEST(PathLog, AnEntryIsBoundedByBytesToo) {
  Told told;
  told.add(100, "/" + std::string(60'000, 'x'));
  for (const std::size_t count : told.fields) EXPECT_LE(count, 18U);
  EXPECT_EQ(told.paths.size(), 100U);
}

TEST(PathLog, NamesAreEscaped) {
  Told told;
  told.log.add("/a\x1b[31m\n", "text");
  EXPECT_EQ(*told.paths.begin(), "/a\\x1b[31m\\n");
}

std::vector<std::string> told_of(unsigned lines) {
  std::vector<std::string> told;
  OutputLog log([&](const std::string& line) { told.push_back(line); });
  for (unsigned i = 0; i < lines; ++i) log.add(std::to_string(i));
  log.finish();
  return told;
}

TEST(OutputLog, BeginningAndEndOfMuch) {
  EXPECT_EQ(told_of(50).size(), 50U);
  const std::vector<std::string> told = told_of(1'051);
  ASSERT_EQ(told.size(), 51U);
  EXPECT_EQ(told[39], "39");
  EXPECT_EQ(told[40], "(1,001 lines left out)");
  EXPECT_EQ(told[41], "1041");
  EXPECT_EQ(told.back(), "1050");
}

}  // namespace
}  // namespace syncropy

#pragma once
// A dataset in one folder, and a target in another.

#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <memory>
#include <optional>

#include "restore/placer.hpp"
#include "scan/details.hpp"
#include "tests/unit/scan/tree.hpp"
#include "util/error.hpp"
#include "util/file.hpp"

namespace syncropy {

inline std::ostream& operator<<(std::ostream& out, const Shortfall& shortfall) { return out << shortfall.what << ": " << std::strerror(static_cast<int>(shortfall.code)); }
inline std::ostream& operator<<(std::ostream& out, RestoreResult result) { return out << "result " << static_cast<int>(result); }
inline std::ostream& operator<<(std::ostream& out, const RestoreOutcome& outcome) { return out << outcome.result << testing::PrintToString(outcome.shortfalls); }

class PlacerTest : public testing::Test {
 protected:
  // What lies at `path`, as an agent reads it.
  Entry capture(const Tree& tree, const std::string& path) {
    Entry entry;
    entry.path = path;
    struct stat st;
    EXPECT_EQ(::fstatat(tree.root(), path.empty() ? "." : path.c_str(), &st, AT_SYMLINK_NOFOLLOW), 0) << path << ": " << std::strerror(errno);
    const bool readable = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
    const Fd fd = open_beneath(tree.root(), path, readable ? O_RDONLY : O_PATH);
    EXPECT_TRUE(fd) << path << ": " << std::strerror(errno);
    if (!fd) return entry;
    std::uint64_t allocated = 0;
    entry.stat = stat_of(fd.get(), &allocated);
    entry.details = read_details(fd.get(), entry.stat, true, names);
    if (S_ISREG(st.st_mode)) {
      read_extents(fd.get(), entry.stat, allocated, entry.details);
      entry.digest = digest_of(read_all(fd.get(), 1U << 26, ExitStatus::io, path));
    }
    return entry;
  }
  // What a restore does not give back is left out of the comparison.
  void expect_restored(const Entry& entry) {
    Entry there = capture(target, entry.path);
    there.stat.ctime = entry.stat.ctime;
    there.stat.inode = entry.stat.inode;
    there.stat.filesystem = entry.stat.filesystem;
    there.stat.links = entry.stat.links;
    EXPECT_EQ(there.stat.type, entry.stat.type) << entry.path;
    EXPECT_EQ(there.stat.mode, entry.stat.mode) << entry.path;
    EXPECT_EQ(there.stat.uid, entry.stat.uid) << entry.path;
    EXPECT_EQ(there.stat.gid, entry.stat.gid) << entry.path;
    EXPECT_EQ(there.stat.mtime, entry.stat.mtime) << entry.path;
    EXPECT_EQ(there.details.access_acl, entry.details.access_acl) << entry.path;
    EXPECT_EQ(there.details.default_acl, entry.details.default_acl) << entry.path;
    EXPECT_EQ(there.details.xattrs, entry.details.xattrs) << entry.path;
    EXPECT_TRUE(there == entry) << entry.path;
  }
  // An entry of nobody else's making, with content `content`.
  Entry file(const std::string& path, std::string_view content) {
    Entry entry;
    entry.path = path;
    entry.stat.mode = 0640;
    entry.stat.uid = ::geteuid();
    entry.stat.gid = ::getegid();
    entry.stat.size = content.size();
    entry.stat.mtime = {1'600'000'000, 123'456'789};
    entry.digest = digest_of(content);
    return entry;
  }
  Entry of_type(const std::string& path, FileType type) {
    Entry entry = file(path, "");
    entry.stat.type = type;
    if (type != FileType::regular) entry.digest.reset();
    if (type == FileType::symlink) {
      entry.details.link_target = "some/where";
      entry.stat.size = entry.details.link_target.size();
      entry.stat.mode = 0777;
    }
    if (type == FileType::folder) entry.stat.mode = 0750;
    if (type == FileType::block_device || type == FileType::character_device) {
      entry.stat.device_major = 1;
      entry.stat.device_minor = 3;
    }
    return entry;
  }

  Placer& placer() {
    if (!placer_) placer_ = std::make_unique<Placer>(root(), rules);
    return *placer_;
  }
  // After the rules, the process's user or the target's mount have changed.
  void anew() {
    placer_.reset();
    target.reopen();
    root_ = Fd();
  }
  const Fd& root() {
    if (!root_) root_ = Fd(::open(target.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return root_;
  }
  RestoreOutcome put(const Entry& entry, std::string_view content = {}, bool over = false) {
    if (entry.stat.type == FileType::folder) {
      RestoreOutcome opened = placer().open_folder(entry, over);
      if (opened.result == RestoreResult::failed) return opened;
      RestoreOutcome finished = placer().finish_folder(entry);
      if (opened.result != RestoreResult::same && finished.result != RestoreResult::failed) finished.result = opened.result;
      return finished;
    }
    if (entry.stat.type != FileType::regular) return placer().place_special(entry, over);
    RestoreOutcome outcome;
    std::optional<Aside> aside = placer().begin(entry, outcome);
    if (!aside) return outcome;
    aside->write(0, content);
    return placer().finish(std::move(*aside), entry, over);
  }
  Found::State state(const Entry& entry, std::string_view leader = {}) { return placer().examine(entry, leader).state; }
  [[nodiscard]] std::string content(const std::string& name) const { return read_file(target.root(), name, 1U << 26, ExitStatus::io); }
  // Names in the target's root, or a folder of it.
  [[nodiscard]] std::vector<std::string> left(std::string_view path = {}) const { return names_in(open_beneath(target.root(), path, O_RDONLY | O_DIRECTORY).get()); }
  [[nodiscard]] std::optional<struct stat> look(const std::string& name) const {
    struct stat st;
    if (::fstatat(target.root(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
    return st;
  }
  static std::string temporary(std::string_view name) { return ".syncropy-restore." + to_hex(digest_of(name)).substr(0, 16); }
  static bool is_root(const char* what) {
    if (::geteuid() == 0) return true;
    say_not_tested(std::string(what) + ": not root");
    return false;
  }

  Tree source, target;
  AccountNames names;
  RestoreRules rules;

 private:
  Fd root_;
  std::unique_ptr<Placer> placer_;
};

inline const RestoreOutcome created{RestoreResult::created, {}};
inline const RestoreOutcome replaced{RestoreResult::replaced, {}};
inline const RestoreOutcome adjusted{RestoreResult::adjusted, {}};
inline const RestoreOutcome unchanged{RestoreResult::same, {}};
inline RestoreOutcome failure(std::string what, int code) { return {RestoreResult::failed, {{std::move(what), static_cast<std::uint32_t>(code)}}}; }
inline Shortfall shortfall(std::string what, int code) { return {std::move(what), static_cast<std::uint32_t>(code)}; }

}  // namespace syncropy

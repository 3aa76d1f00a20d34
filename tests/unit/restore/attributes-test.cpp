#include "restore/attributes.hpp"

#include <grp.h>

#include <algorithm>

#include "tests/unit/restore/fixture.hpp"

namespace syncropy {
namespace {

using State = Found::State;

// cap_net_raw=ep, version 2 of struct vfs_cap_data
const std::string capability("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
const std::vector<AclEntry> an_acl{{AclTag::user_owner, 6, 0, ""}, {AclTag::user, 7, 0, "root"}, {AclTag::user, 4, 3'999'999'999, ""}, {AclTag::group_owner, 4, 0, ""},
                                   {AclTag::group, 2, 0, "root"}, {AclTag::mask, 6, 0, ""}, {AclTag::other, 0, 0, ""}};
const std::vector<AclEntry> a_default_acl{{AclTag::user_owner, 7, 0, ""}, {AclTag::user, 5, 4'242, ""}, {AclTag::group_owner, 5, 0, ""}, {AclTag::mask, 5, 0, ""},
                                          {AclTag::other, 0, 0, ""}};

class AttributesTest : public PlacerTest {
 protected:
  // A file and a folder with everything.
  Entry full_file(const std::string& path, std::string_view bytes) {
    Entry entry = file(path, bytes);
    entry.stat.uid = 12'345;
    entry.stat.gid = 54'321;
    entry.stat.mode = 06660;
    entry.stat.mtime = {-5, 123'456'789};
    entry.details.access_acl = an_acl;
    entry.details.xattrs = {{"security.capability", capability}, {"trusted.note", std::string("t\0", 2)}, {"user.empty", ""}, {"user.note", std::string("v\0w\xff", 4)}};
    return entry;
  }
  Entry full_folder(const std::string& path) {
    Entry entry = of_type(path, FileType::folder);
    entry.stat.uid = 12'345;
    entry.stat.gid = 54'321;
    entry.stat.mode = 03770;
    entry.details.access_acl = {{AclTag::user_owner, 7, 0, ""}, {AclTag::group_owner, 5, 0, ""}, {AclTag::group, 7, 54'322, ""}, {AclTag::mask, 7, 0, ""}, {AclTag::other, 0, 0, ""}};
    entry.details.default_acl = a_default_acl;
    entry.details.xattrs = {{"trusted.note", "t"}, {"user.note", "v"}};
    return entry;
  }
  // Compares with what the entry asks for, owners' names aside.
  void expect_as_asked(const Entry& entry) {
    Entry asked = entry;
    asked.details.owner = names.user(entry.stat.uid);
    asked.details.group = names.group(entry.stat.gid);
    expect_restored(asked);
  }
};

TEST_F(AttributesTest, EverythingOfAFileAndAFolder) {
  if (!is_root("all attributes")) return;
  const Entry entry = full_file("file", "content"), folder = full_folder("folder");
  EXPECT_EQ(state(entry), State::absent);
  EXPECT_EQ(put(entry, "content"), created);
  expect_as_asked(entry);
  EXPECT_EQ(state(entry), State::same);
  EXPECT_EQ(put(folder), created);
  expect_as_asked(folder);
  EXPECT_EQ(state(folder), State::same);
  EXPECT_EQ(put(folder), unchanged);
}

TEST_F(AttributesTest, EverythingOfEveryOtherType) {
  if (!is_root("devices")) return;
  for (const FileType type : {FileType::symlink, FileType::block_device, FileType::character_device, FileType::fifo, FileType::socket}) {
    Entry entry = of_type(std::string("of-type-") + letter_of(type), type);
    entry.stat.uid = 12'345;
    entry.stat.gid = 54'321;
    entry.stat.mtime = {1'500'000'000, 987'654'321};
    entry.details.xattrs = {{"trusted.note", "t"}};
    if (type != FileType::symlink) {
      entry.stat.mode = 0660;
      entry.details.access_acl = an_acl;
    }
    EXPECT_EQ(state(entry), State::absent);
    EXPECT_EQ(put(entry), created);
    expect_as_asked(entry);
    EXPECT_EQ(state(entry), State::same);
    entry.stat.uid = 12'346;
    entry.stat.mtime.nanoseconds = 5;
    entry.details.xattrs.clear();
    EXPECT_EQ(state(entry), State::attributes);
    EXPECT_EQ(placer().adjust(entry), adjusted);
    expect_as_asked(entry);
  }
}

TEST_F(AttributesTest, EachSingleDifferenceIsSeenAndMended) {
  if (!is_root("all attributes")) return;
  const Entry entry = full_file("file", "content");
  ASSERT_EQ(put(entry, "content"), created);
  const std::string path = target.path("file");
  const std::vector<std::function<int()>> changes{
      [&] { return ::chown(path.c_str(), 1, static_cast<gid_t>(-1)); },
      [&] { return ::chown(path.c_str(), static_cast<uid_t>(-1), 1); },
      [&] { return ::chmod(path.c_str(), 0660); },
      [&] { return ::chmod(path.c_str(), 06640); },
      [&] { return ::removexattr(path.c_str(), "system.posix_acl_access"); },
      [&] { return ::removexattr(path.c_str(), "security.capability"); },
      [&] { return ::removexattr(path.c_str(), "trusted.note"); },
      [&] { return ::setxattr(path.c_str(), "user.note", "", 0, 0); },
      [&] { return ::setxattr(path.c_str(), "user.other", "x", 1, 0); },
      [&] { return ::setxattr(path.c_str(), "trusted.a-other", "x", 1, 0); },
      [&] { return ::setxattr(path.c_str(), "security.zother", "x", 1, 0); },
      [&] {
        const timespec times[2] = {{0, UTIME_OMIT}, {-5, 123'456'788}};
        return ::utimensat(AT_FDCWD, path.c_str(), times, 0);
      }};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    ASSERT_EQ(changes[i](), 0) << i << ": " << std::strerror(errno);
    const auto inode = look("file")->st_ino;
    EXPECT_EQ(state(entry), State::attributes) << i;
    EXPECT_EQ(placer().adjust(entry), adjusted) << i;
    expect_as_asked(entry);
    EXPECT_EQ(look("file")->st_ino, inode) << "an adjusted file is the same file";
    EXPECT_EQ(state(entry), State::same) << i;
  }
}

TEST_F(AttributesTest, WhatTheKernelOwnsIsNotTakenAway) {
  if (!is_root("security.*")) return;
  const Entry entry = file("file", "x");
  ASSERT_EQ(put(entry, "x"), created);
  if (::setxattr(target.path("file").c_str(), "security.selinux", "a_label", 8, 0) != 0) return say_not_tested("labels");
  EXPECT_EQ(state(entry), State::same);
}

TEST_F(AttributesTest, AccessTimeStays) {
  const Entry entry = file("file", "content");
  ASSERT_EQ(put(entry, "content"), created);
  const timespec times[2] = {{1'000, 1}, {1'000, 1}};
  ASSERT_EQ(::utimensat(target.root(), "file", times, 0), 0);
  EXPECT_EQ(state(entry), State::attributes);
  EXPECT_EQ(placer().adjust(entry), adjusted);
  EXPECT_EQ(look("file")->st_atim.tv_sec, 1'000);
  EXPECT_EQ(look("file")->st_mtim.tv_nsec, 123'456'789);
}

TEST_F(AttributesTest, NothingIsInheritedFromAFolder) {
  // As setfacl -d gives it, and with set-group-id.
  const Entry above = full_folder("above");
  if (!is_root("default ACLs")) return;
  ASSERT_EQ(put(above), created);
  anew();
  for (const uid_t owner : {0U, 12'345U}) {  // what nobody else can change is asked once, the others' each time
    ASSERT_EQ(::chown(target.path("above").c_str(), owner, 54'321), 0);
    anew();
    for (int i = 0; i < 2; ++i) {
      const std::string number = std::to_string(owner) + "." + std::to_string(i);
      const Entry entry = file("above/file" + number, "x"), folder = of_type("above/folder" + number, FileType::folder), fifo = of_type("above/fifo" + number, FileType::fifo);
      EXPECT_EQ(put(entry, "x"), created);
      expect_as_asked(entry);
      EXPECT_EQ(placer().open_folder(folder, false), created);
      EXPECT_EQ(::getxattr(target.path(folder.path).c_str(), "system.posix_acl_default", nullptr, 0), -1) << "files in it would inherit";
      const Entry inner = file(folder.path + "/inner", "x");
      EXPECT_EQ(put(inner, "x"), created);
      expect_as_asked(inner);
      EXPECT_EQ(placer().finish_folder(folder), adjusted);
      expect_as_asked(folder);
      EXPECT_EQ(put(fifo), created);
      expect_as_asked(fifo);
    }
  }
}

TEST_F(AttributesTest, AccountsOfThisMachine) {
  if (!is_root("owners")) return;
  rules.users = {{"anna", "4711"}, {"3999999999", "4712"}};
  Entry entry = full_file("file", "x");
  entry.stat.mode = 04660;
  entry.details.owner = "anna";
  entry.details.group = "root";
  entry.details.xattrs.clear();
  EXPECT_EQ(put(entry, "x"), created);
  const Entry there = capture(target, "file");
  EXPECT_EQ(there.stat.uid, 4'711U);
  EXPECT_EQ(there.stat.gid, 0U);
  EXPECT_EQ(there.stat.mode, 04660);
  EXPECT_EQ(there.details.access_acl.at(2).id, 4'712U);
  EXPECT_EQ(state(entry), State::same);
}

TEST_F(AttributesTest, TwoAccountsMappedToOneInAnAcl) {
  if (!is_root("owners")) return;
  rules.users = {{"1001", "5000"}, {"1002", "5000"}};
  Entry entry = file("file", "x");
  entry.stat.mode = 0670;
  entry.details.access_acl = {{AclTag::user_owner, 6, 0, ""}, {AclTag::user, 6, 1'001, ""}, {AclTag::user, 5, 1'002, ""}, {AclTag::group_owner, 0, 0, ""}, {AclTag::mask, 7, 0, ""}, {AclTag::other, 0, 0, ""}};
  EXPECT_EQ(put(entry, "x"), created);
  const std::vector<AclEntry> expected{{AclTag::user_owner, 6, 0, ""}, {AclTag::user, 4, 5'000, ""}, {AclTag::group_owner, 0, 0, ""}, {AclTag::mask, 7, 0, ""}, {AclTag::other, 0, 0, ""}};
  EXPECT_EQ(capture(target, "file").details.access_acl, expected);
  EXPECT_EQ(state(entry), State::same);
}

TEST_F(AttributesTest, AnAccountThatChownCannotSay) {
  if (!is_root("owners")) return;
  Entry entry = file("file", "x");
  entry.stat.mode = 06755;
  entry.stat.uid = 12'345;
  entry.stat.gid = UINT32_MAX;
  EXPECT_EQ(put(entry, "x"), (RestoreOutcome{RestoreResult::created, {shortfall("group", EINVAL), shortfall("mode", EPERM)}}));
  EXPECT_EQ(look("file")->st_mode & 07777, 04755U);
  EXPECT_EQ(look("file")->st_uid, 12'345U);
}

TEST_F(AttributesTest, AnOrdinaryUserGivesWhatItMay) {
  ASSERT_EQ(::chmod(target.path().c_str(), 0777), 0);
  const bool can_change = is_root("an ordinary user");
  in_child([&] {
    if (can_change) {
      const gid_t more = 4'444;
      ASSERT_EQ(::setgroups(1, &more), 0);
    }
    become_ordinary_user();
    anew();
    Entry entry = full_file("file", "x");
    entry.stat.gid = can_change ? 4'444 : ::getegid();
    // user.* can be set although the mode forbids writing.
    entry.stat.mode = 06460;
    entry.details.access_acl[0].permissions = 4;
    const RestoreOutcome outcome = put(entry, "x");
    EXPECT_EQ(outcome, (RestoreOutcome{RestoreResult::created, {shortfall("owner", EPERM), shortfall("attribute trusted.note", EPERM), shortfall("mode", EPERM), shortfall("capabilities", EPERM)}}));
    const auto st = look("file");
    ASSERT_TRUE(st);
    EXPECT_EQ(st->st_mode & 07777, 02460U) << "set-user-id for another user";
    EXPECT_EQ(st->st_uid, ::geteuid());
    EXPECT_EQ(st->st_gid, entry.stat.gid) << "the group is given without the owner";
    EXPECT_EQ(st->st_mtim.tv_nsec, 123'456'789);
    const Entry there = capture(target, "file");
    EXPECT_EQ(there.details.access_acl.size(), entry.details.access_acl.size());
    EXPECT_EQ(there.details.xattrs, (std::vector<Xattr>{entry.details.xattrs[2], entry.details.xattrs[3]}));
    EXPECT_EQ(state(entry), State::attributes) << "what this user cannot set makes no other content";
    EXPECT_EQ(placer().adjust(entry).shortfalls, outcome.shortfalls);
    EXPECT_EQ(look("file")->st_mode & 07777, 02460U);

    entry.path = "other-group";
    entry.stat.uid = ::geteuid();
    entry.stat.gid = 54'321;
    EXPECT_EQ(put(entry, "x"), (RestoreOutcome{RestoreResult::created, {shortfall("group", EPERM), shortfall("attribute trusted.note", EPERM), shortfall("mode", EPERM), shortfall("capabilities", EPERM)}}));
    EXPECT_EQ(look("other-group")->st_mode & 07777, 04460U) << "set-group-id for another group";
    EXPECT_EQ(put(of_type("device", FileType::block_device)), failure("device", EPERM));
    EXPECT_EQ(left(), (std::vector<std::string>{"file", "other-group"}));
  });
}

TEST_F(AttributesTest, AnOrdinaryUsersSetIdBitsGoWhereTheOwnerIsAnother) {
  ASSERT_EQ(::chmod(target.path().c_str(), 0777), 0);
  in_child([&] {
    become_ordinary_user();
    anew();
    Entry entry = file("file", "x");
    entry.stat.mode = 04755;
    ASSERT_EQ(put(entry, "x"), created);
    entry.stat.uid = 1;
    EXPECT_EQ(state(entry), State::attributes);
    EXPECT_EQ(placer().adjust(entry), (RestoreOutcome{RestoreResult::adjusted, {shortfall("owner", EPERM), shortfall("mode", EPERM)}}));
    EXPECT_EQ(look("file")->st_mode & 07777, 0755U);
  });
}

TEST_F(AttributesTest, UserAttributesOfAFileThatMayNotBeWritten) {
  ASSERT_EQ(::chmod(target.path().c_str(), 0777), 0);
  in_child([&] {
    become_ordinary_user();
    anew();
    Entry entry = file("file", "x");
    entry.stat.mode = 0444;
    ASSERT_EQ(put(entry, "x"), created);
    entry.details.xattrs = {{"user.note", "v"}};
    EXPECT_EQ(state(entry), State::attributes);
    EXPECT_EQ(placer().adjust(entry), adjusted);
    expect_as_asked(entry);
  });
}

TEST_F(AttributesTest, FoldersOfAnOrdinaryUserAreOpenedUpAndClosed) {
  ASSERT_EQ(::chmod(target.path().c_str(), 0777), 0);
  const bool can_change = is_root("folders of others");
  if (can_change) {
    target.folder("entered");
    ASSERT_EQ(::chmod(target.path("entered").c_str(), 0711), 0);
    target.folder("entered/within");
    ASSERT_EQ(::chmod(target.path("entered/within").c_str(), 0777), 0);
    target.folder("closed");
    ASSERT_EQ(::chmod(target.path("closed").c_str(), 0700), 0);
  }
  in_child([&] {
    become_ordinary_user();
    anew();
    for (const char* name : {"finished", "not-finished"}) {
      target.folder(name);
      ASSERT_EQ(::chmod(target.path(name).c_str(), 0), 0);
    }
    Entry finished = of_type("finished", FileType::folder);
    finished.stat.mode = 0111;
    finished.details.xattrs = {{"user.note", "v"}};
    EXPECT_EQ(state(finished), State::attributes);
    EXPECT_EQ(placer().open_folder(finished, false), unchanged);
    EXPECT_EQ(placer().open_folder(of_type("not-finished", FileType::folder), false), unchanged);
    EXPECT_EQ(put(file("finished/file", "x"), "x"), created);
    EXPECT_EQ(put(file("not-finished/file", "x"), "x"), created);
    EXPECT_EQ(placer().finish_folder(finished), adjusted);
    EXPECT_EQ(look("finished")->st_mode & 07777, 0111U);
    EXPECT_EQ(state(file("finished/file", "x")), State::same) << "entered without being readable";
    if (can_change) {
      EXPECT_EQ(placer().open_folder(of_type("entered", FileType::folder), false), unchanged);
      EXPECT_EQ(put(file("entered/file", "x"), "x"), failure("file", EACCES));
      EXPECT_EQ(put(file("entered/within/file", "x"), "x"), created);
      EXPECT_EQ(placer().open_folder(of_type("closed", FileType::folder), false), failure("folder", EACCES));
    }
    anew();
    EXPECT_EQ(look("not-finished")->st_mode & 07777, 0U) << "opened up and left so";
  });
}

TEST_F(AttributesTest, FilesystemsThatKnowLess) {
  in_child([&] {
    if (::geteuid() != 0 || !enter_mount_namespace()) return say_not_tested("mounts: this user may not");
    if (::mount("none", target.path().c_str(), "ramfs", 0, nullptr) != 0) return say_not_tested("ramfs");
    anew();
    Entry entry = full_file("file", "x");
    entry.stat.mode = 0670;
    entry.details.access_acl = {{AclTag::user_owner, 6, 0, ""}, {AclTag::group_owner, 4, 0, ""}, {AclTag::group, 7, 1, ""}, {AclTag::mask, 7, 0, ""}, {AclTag::other, 0, 0, ""}};
    const RestoreOutcome outcome = put(entry, "x");
    EXPECT_EQ(outcome.result, RestoreResult::created);
    std::vector<std::string> what;
    for (const Shortfall& one : outcome.shortfalls) {
      what.push_back(one.what);
      EXPECT_EQ(one.code, static_cast<std::uint32_t>(ENOTSUP)) << one.what;
    }
    EXPECT_EQ(what, (std::vector<std::string>{"attribute trusted.note", "attribute user.empty", "attribute user.note", "access ACL", "capabilities"}));
    EXPECT_EQ(look("file")->st_mode & 07777, 0640U) << "the mask's bits are not the owning group's";
    EXPECT_EQ(look("file")->st_uid, 12'345U);
  });
}

TEST_F(AttributesTest, Tmpfs) {
  in_child([&] {
    if (::geteuid() != 0 || !enter_mount_namespace()) return say_not_tested("mounts: this user may not");
    ASSERT_EQ(::mount("none", target.path().c_str(), "tmpfs", 0, nullptr), 0);
    anew();
    Entry entry = full_file("file", "content");
    std::erase_if(entry.details.xattrs, [](const Xattr& xattr) { return xattr.name.starts_with("user."); });  // since Linux 6.6
    EXPECT_EQ(put(entry, "content"), created);
    expect_as_asked(entry);
    EXPECT_EQ(state(entry), State::same);
    Entry folder = full_folder("folder");
    folder.details.xattrs.clear();
    EXPECT_EQ(put(folder), created);
    expect_as_asked(folder);
  });
}

// ext4 says ENOSPC of an attribute that does not fit beside its inode.
TEST_F(AttributesTest, AnAttributeThatTheFilesystemHasNoPlaceForIsAShortfall) {
  Entry entry = file("file", "x");
  entry.details.xattrs = {{"user.large", std::string(60'000, 'x')}};
  const RestoreOutcome outcome = put(entry, "x");
  EXPECT_EQ(outcome.result, RestoreResult::created);
  if (outcome.shortfalls.empty()) return say_not_tested("attributes that do not fit: here they do");
  EXPECT_EQ(outcome.shortfalls, (std::vector<Shortfall>{shortfall("attribute user.large", E2BIG)}));
}

TEST_F(AttributesTest, ShortfallsAreBounded) {
  Entry entry = file("file", "x");
  for (int i = 100; i < 200; ++i) entry.details.xattrs.push_back({"nonsense.\n" + std::to_string(i), "x"});
  const RestoreOutcome outcome = put(entry, "x");
  EXPECT_EQ(outcome.result, RestoreResult::created);
  ASSERT_EQ(outcome.shortfalls.size(), limits::shortfalls);
  EXPECT_EQ(outcome.shortfalls[0], shortfall("attribute nonsense.\\n100", ENOTSUP));
}

TEST_F(AttributesTest, WhatWasNotReadIsNotTakenAway) {
  Entry folder = of_type("folder", FileType::folder);
  folder.details.xattrs = {{"user.note", "v"}};
  if (put(folder) != created) return say_not_tested("user.*");
  folder.details.xattrs.clear();
  folder.flags = unread;
  EXPECT_EQ(put(folder), unchanged);
  folder.flags = 0;
  EXPECT_EQ(put(folder), adjusted);
}

}  // namespace
}  // namespace syncropy

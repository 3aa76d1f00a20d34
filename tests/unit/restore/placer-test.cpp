#include "restore/placer.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstddef>

#include "model/limits.hpp"
#include "tests/unit/restore/fixture.hpp"

namespace syncropy {
namespace {

using State = Found::State;

constexpr FileType all_types[] = {FileType::regular, FileType::folder, FileType::symlink, FileType::character_device, FileType::fifo, FileType::socket};

// --- Comparing

TEST_F(PlacerTest, WhatIsReadFromOneFolderIsGivenBackToAnother) {
  source.file("file", "content");
  source.folder("folder");
  source.file("folder/empty");
  source.link("../file", "folder/link");
  ASSERT_EQ(::mkfifoat(source.root(), "folder/fifo", 0600), 0);
  const std::string odd = "folder/\n\x1b[31m\xff name", longest = "folder/" + std::string(255, 'n');
  source.file(odd, "odd");
  source.file(longest, "long");
  const std::vector<std::string> inner{"file", "folder/empty", "folder/link", "folder/fifo", odd, longest};
  const Entry folder = capture(source, "folder"), top = capture(source, "");
  ASSERT_EQ(placer().open_folder(top, false), unchanged);
  ASSERT_EQ(placer().open_folder(folder, false), created);
  for (const std::string& path : inner) {
    const Entry entry = capture(source, path);
    EXPECT_EQ(put(entry, entry.stat.type == FileType::regular ? read_file(source.root(), path, 1'000, ExitStatus::io) : ""), created);
  }
  EXPECT_EQ(placer().finish_folder(folder), adjusted);
  EXPECT_EQ(placer().finish_folder(top), adjusted);
  for (const std::string& path : inner) {
    expect_restored(capture(source, path));
    EXPECT_EQ(state(capture(source, path)), State::same) << path;
  }
  expect_restored(folder);
  expect_restored(top);
  EXPECT_EQ(placer().finish_folder(folder), unchanged);
  EXPECT_EQ(placer().finish_folder(top), unchanged);
}

TEST_F(PlacerTest, ContentIsTold) {
  const Entry entry = file("file", "content");
  EXPECT_EQ(state(entry), State::absent);
  ASSERT_EQ(put(entry, "content"), created);
  EXPECT_EQ(state(entry), State::same);
  EXPECT_EQ(state(file("file", "CONTENT")), State::different);
  EXPECT_EQ(state(file("file", "content+")), State::different);
  EXPECT_EQ(placer().examine(entry).stat->size, 7U);
  const std::string large(600'000, 'x');
  ASSERT_EQ(put(file("large", large), large), created);
  EXPECT_EQ(state(file("large", large)), State::same);
  EXPECT_EQ(state(file("large", large.substr(1) + "y")), State::different);
  EXPECT_EQ(state(file("file/below", "x")), State::blocked) << "beneath a file";
  EXPECT_EQ(state(file("no/such", "x")), State::absent);
}

TEST_F(PlacerTest, EachTypeIsToldFromEachOther) {
  const bool has_devices = is_root("devices");
  for (const FileType there : all_types) {
    if (there == FileType::character_device && !has_devices) continue;
    const Entry entry = of_type(std::string("is-") + letter_of(there), there);
    ASSERT_EQ(put(entry), created);
    for (const FileType wanted : all_types)
      EXPECT_EQ(state(of_type(entry.path, wanted)), wanted == there ? State::same : State::different) << letter_of(there) << letter_of(wanted);
  }
  Entry link = of_type("is-l", FileType::symlink);
  link.details.link_target = "some/were!";
  EXPECT_EQ(state(link), State::different);
  if (!has_devices) return;
  Entry device = of_type("is-c", FileType::character_device);
  device.stat.device_minor = 5;
  EXPECT_EQ(state(device), State::different);
  EXPECT_EQ(state(of_type("is-c", FileType::block_device)), State::different);
}

TEST_F(PlacerTest, WhatWasNotReadCannotBeGivenBack) {
  Entry entry = file("file", "");
  entry.digest.reset();
  const Found found = placer().examine(entry);
  EXPECT_EQ(found.state, State::blocked);
  EXPECT_EQ(found.shortfall, shortfall("content", ENODATA));
  EXPECT_EQ(put(entry), failure("content", ENODATA));
  Entry link = of_type("link", FileType::symlink);
  link.details.link_target.clear();
  EXPECT_EQ(state(link), State::blocked);
  EXPECT_EQ(put(link), failure("symbolic link", ENODATA));
  EXPECT_TRUE(left().empty());
}

TEST_F(PlacerTest, AFileOfOursThatNobodyMayReadIsWrittenAnew) {
  ASSERT_EQ(::chmod(target.path().c_str(), 0777), 0);
  target.file("of-another", "content");
  ASSERT_EQ(::chmod(target.path("of-another").c_str(), 0), 0);
  const bool has_another = is_root("files of others");
  in_child([&] {
    become_ordinary_user();
    anew();
    Entry entry = file("file", "content");
    entry.stat.mode = 0;
    ASSERT_EQ(put(entry, "content"), created);
    EXPECT_EQ(state(entry), State::different);
    EXPECT_EQ(put(entry, "content", true), replaced);
    if (!has_another) return;
    EXPECT_EQ(placer().examine(file("of-another", "content")).shortfall, shortfall("content", EACCES));
  });
}

// --- Hard links

TEST_F(PlacerTest, HardLinks) {
  Entry entry = file("first", "content");
  entry.stat.links = 2;
  ASSERT_EQ(put(entry, "content"), created);
  Entry second = entry;
  second.path = "second";
  EXPECT_EQ(state(second, "first"), State::absent);
  EXPECT_EQ(placer().place_link(second, "first", false), created);
  EXPECT_EQ(look("second")->st_ino, look("first")->st_ino);
  EXPECT_EQ(state(entry), State::same);
  EXPECT_EQ(state(second, "first"), State::same);
  EXPECT_EQ(placer().place_link(second, "first", false), failure("hard link", EEXIST));
  EXPECT_EQ(placer().place_link(second, "first", true), replaced) << "by itself";
  EXPECT_EQ(left(), (std::vector<std::string>{"first", "second"}));

  ASSERT_EQ(::unlinkat(target.root(), "second", 0), 0);
  ASSERT_EQ(put(second, "content"), created);
  EXPECT_EQ(state(second), State::same);
  EXPECT_EQ(state(second, "first"), State::different) << "another inode than the leader's";
  EXPECT_EQ(placer().place_link(second, "first", true), replaced);
  EXPECT_EQ(state(second, "first"), State::same);
  EXPECT_EQ(placer().place_link(second, "gone", true), failure("hard link", ENOENT));
  EXPECT_EQ(left(), (std::vector<std::string>{"first", "second"}));
}

TEST_F(PlacerTest, AFileWithNamesOutsideTheRestoreIsNotModified) {
  const Entry entry = file("file", "content");
  source.file("outside", "content");
  ASSERT_EQ(::linkat(source.root(), "outside", target.root(), "file", 0), 0);
  EXPECT_EQ(state(entry), State::different);
  const Entry before = capture(source, "outside");
  EXPECT_EQ(placer().adjust(entry), failure("file", EEXIST));
  EXPECT_EQ(put(entry, "content", true), replaced);
  Entry after = capture(source, "outside");
  EXPECT_EQ(after.stat.links, 1U);
  after.stat.links = 2;
  after.stat.ctime = before.stat.ctime;
  EXPECT_TRUE(after == before);
}

TEST_F(PlacerTest, AHardLinkWhereThereCanBeNoneIsACopy) {
  in_child([&] {
    if (::geteuid() != 0 || !enter_mount_namespace()) return say_not_tested("mounts: this user may not");
    target.folder("mount");
    ASSERT_EQ(::mount("none", target.path("mount").c_str(), "tmpfs", 0, nullptr), 0);
    anew();
    const std::string bytes = "data" + std::string(1U << 20, '\0') + "end";
    Entry entry = file("first", bytes);
    entry.stat.links = 2;
    RestoreOutcome outcome;
    std::optional<Aside> aside = placer().begin(entry, outcome);
    ASSERT_TRUE(aside);
    aside->write(0, "data");
    aside->write(bytes.size() - 3, "end");
    ASSERT_EQ(placer().finish(std::move(*aside), entry, false), created);
    entry.path = "mount/second";
    EXPECT_EQ(placer().place_link(entry, "first", false), (RestoreOutcome{RestoreResult::created, {shortfall("hard link", EXDEV)}}));
    EXPECT_EQ(content("mount/second"), bytes);
    EXPECT_LT(look("mount/second")->st_blocks, 100) << "the hole was filled";
    EXPECT_EQ(placer().place_link(entry, "first", false), failure("hard link", EEXIST));
    EXPECT_EQ(placer().place_link(entry, "first", true), (RestoreOutcome{RestoreResult::replaced, {shortfall("hard link", EXDEV)}}));
    EXPECT_EQ(left("mount"), std::vector<std::string>{"second"});
  });
}

TEST_F(PlacerTest, ALinkInTheLeadersPlaceIsNotFollowed) {
  source.file("outside", "content");
  target.link(source.path("outside"), "first");
  Entry entry = file("second", "content");
  EXPECT_EQ(placer().place_link(entry, "first", false), failure("hard link", ESTALE));
  EXPECT_EQ(state(entry, "first"), State::absent);
  EXPECT_EQ(left(), std::vector<std::string>{"first"});
}

// --- In place of something else

TEST_F(PlacerTest, EachTypeInPlaceOfEachType) {
  const bool has_devices = is_root("devices");
  for (const FileType there : all_types) {
    for (const FileType wanted : all_types) {
      if (!has_devices && (there == FileType::character_device || wanted == FileType::character_device)) continue;
      SCOPED_TRACE(std::string() + letter_of(there) + letter_of(wanted));
      const Entry before = of_type("place", there), entry = of_type("place", wanted);
      ASSERT_EQ(put(before), created);
      const auto inode = look("place")->st_ino;
      const bool both_folders = there == FileType::folder && wanted == FileType::folder;
      const RestoreOutcome kept = put(entry, "", false);
      if (both_folders) {
        EXPECT_EQ(kept, unchanged);
      } else {
        EXPECT_EQ(kept.result, RestoreResult::failed);
        EXPECT_EQ(kept.shortfalls.at(0).code, static_cast<std::uint32_t>(EEXIST));
      }
      EXPECT_EQ(look("place")->st_ino, inode);
      EXPECT_EQ(state(before), State::same);
      EXPECT_EQ(put(entry, "", true), both_folders ? unchanged : replaced);
      EXPECT_EQ(state(entry), State::same);
      EXPECT_EQ(left(), std::vector<std::string>{"place"}) << "a temporary";
      Shortfall problem;
      EXPECT_TRUE(placer().remove("place", problem));
      EXPECT_TRUE(left().empty());
    }
  }
}

TEST_F(PlacerTest, AFolderWithSomethingInItGoesOnlyWhenAsked) {
  for (const FileType wanted : {FileType::regular, FileType::symlink, FileType::fifo}) {
    rules.remove_others = false;
    anew();
    target.folder("place");
    target.folder("place/below");
    target.file("place/below/file");
    target.folder("elsewhere");
    target.file("elsewhere/file");
    target.link("../elsewhere", "place/link");
    EXPECT_EQ(state(file("place/below/file", "")), State::attributes) << "held open now";
    const Entry entry = of_type("place", wanted);
    EXPECT_EQ(put(entry, "", true).shortfalls.at(0).code, static_cast<std::uint32_t>(ENOTEMPTY));
    EXPECT_TRUE(look("place/below/file"));
    EXPECT_EQ(left(), (std::vector<std::string>{"elsewhere", "place"}));
    rules.remove_others = true;
    EXPECT_EQ(put(entry, "", true), replaced);
    EXPECT_EQ(state(entry), State::same);
    EXPECT_TRUE(look("elsewhere/file"));
    Shortfall problem;
    EXPECT_TRUE(placer().remove("place", problem));
    EXPECT_TRUE(placer().remove("elsewhere", problem));
  }
}

TEST_F(PlacerTest, LinksOnTheWayAreNotFollowed) {
  source.folder("outside");
  target.link(source.path("outside"), "folder");
  const Entry entry = file("folder/file", "x"), fifo = of_type("folder/fifo", FileType::fifo), inner = of_type("folder/inner", FileType::folder);
  const auto is_refused = [](const RestoreOutcome& outcome) {
    return outcome.result == RestoreResult::failed && (outcome.shortfalls.at(0).code == ELOOP || outcome.shortfalls.at(0).code == ENOTDIR);
  };
  EXPECT_EQ(state(entry), State::blocked);
  EXPECT_TRUE(is_refused(put(entry, "x")));
  EXPECT_TRUE(is_refused(put(fifo)));
  EXPECT_TRUE(is_refused(put(inner)));
  EXPECT_TRUE(is_refused(placer().place_link(entry, "folder/other", true)));
  EXPECT_TRUE(placer().others_in("folder", {}).empty());
  Shortfall problem;
  EXPECT_FALSE(placer().remove("folder/anything", problem));
  const Entry folder = of_type("folder", FileType::folder);
  EXPECT_EQ(placer().open_folder(folder, false), failure("folder", EEXIST));
  EXPECT_EQ(placer().finish_folder(folder), failure("folder", ENOTDIR));
  EXPECT_TRUE(names_in(open_beneath(source.root(), "outside", O_RDONLY).get()).empty()) << "something was made outside";
  EXPECT_EQ(placer().open_folder(folder, true), replaced);
  EXPECT_EQ(put(entry, "x"), created);
  EXPECT_TRUE(names_in(open_beneath(source.root(), "outside", O_RDONLY).get()).empty());
  EXPECT_EQ(put(file("../escape", "x"), "x").result, RestoreResult::failed);
}

TEST_F(PlacerTest, LinksInAnEntrysPlaceAreReplacedNotFollowed) {
  source.file("outside", "kept");
  target.link(source.path("outside"), "file");
  const Entry entry = file("file", "content");
  EXPECT_EQ(state(entry), State::different);
  EXPECT_EQ(placer().adjust(entry), failure("file", EEXIST));
  EXPECT_EQ(put(entry, "content", true), replaced);
  EXPECT_EQ(content("file"), "content");
  EXPECT_EQ(read_file(source.root(), "outside", 100, ExitStatus::io), "kept");
}

// What was compared is adjusted, whatever takes its name in between.
TEST_F(PlacerTest, WhatTakesTheNameOfAComparedFileIsNotTouched) {
  Entry entry = file("file", "content");
  ASSERT_EQ(put(entry, "content"), created);
  entry.stat.mode = 0666;
  ASSERT_EQ(state(entry), State::attributes);
  ASSERT_EQ(::renameat(target.root(), "file", target.root(), "moved"), 0);
  source.file("outside", "kept");
  ASSERT_EQ(::linkat(source.root(), "outside", target.root(), "file", 0), 0);
  EXPECT_EQ(placer().adjust(entry), adjusted);
  EXPECT_EQ(look("file")->st_mode & 07777, 0644U);
  EXPECT_EQ(look("moved")->st_mode & 07777, 0666U);
}

// --- Written aside

TEST_F(PlacerTest, NothingIsVisibleBeforeItIsWhole) {
  const Entry entry = file("file", "content");
  RestoreOutcome outcome;
  std::optional<Aside> aside = placer().begin(entry, outcome);
  ASSERT_TRUE(aside);
  aside->write(0, "cont");
  EXPECT_EQ(left(), std::vector<std::string>{temporary("file")});
  EXPECT_EQ(look(temporary("file"))->st_mode & 07777, 0600U);
  aside->write(4, "ent");
  EXPECT_EQ(placer().finish(std::move(*aside), entry, false), created);
  EXPECT_EQ(left(), std::vector<std::string>{"file"});
  aside.reset();
  EXPECT_EQ(left(), std::vector<std::string>{"file"});

  {
    const std::optional<Aside> never_finished = placer().begin(file("never-finished", "x"), outcome);
    EXPECT_EQ(left().size(), 2U);
  }
  EXPECT_EQ(left(), std::vector<std::string>{"file"});
}

TEST_F(PlacerTest, AnotherContentThanTheEntrysLeavesNothing) {
  const Entry entry = file("file", "content");
  EXPECT_EQ(put(entry, "CONTENT"), failure("content", EBADMSG));
  EXPECT_EQ(put(entry, "conten"), failure("content", EBADMSG));
  EXPECT_EQ(put(entry, "content+"), failure("content", EBADMSG));
  EXPECT_TRUE(left().empty());
  RestoreOutcome outcome;
  std::optional<Aside> aside = placer().begin(entry, outcome);
  ASSERT_TRUE(aside);
  aside->write(4, "x");
  EXPECT_THROW(aside->write(4, "y"), Error);
}

TEST_F(PlacerTest, HolesStayHoles) {
  constexpr std::uint64_t size = UINT64_C(64) << 20, middle = UINT64_C(16) << 20;
  Hasher hasher;
  hasher.update_zeros(middle);
  hasher.update("middle");
  hasher.update_zeros(size - middle - 6);
  Entry entry = file("sparse", "");
  entry.stat.size = size;
  entry.digest = hasher.finish();
  RestoreOutcome outcome;
  std::optional<Aside> aside = placer().begin(entry, outcome);
  ASSERT_TRUE(aside);
  aside->write(middle, "mid");
  aside->write(middle + 3, "dle");
  EXPECT_EQ(placer().finish(std::move(*aside), entry, false), created);
  EXPECT_EQ(look("sparse")->st_size, static_cast<off_t>(size));
  EXPECT_LE(look("sparse")->st_blocks, 64);
  EXPECT_EQ(state(entry), State::same);

  Entry hole = file("hole", "");
  hole.stat.size = size;
  hasher.update_zeros(size);
  hole.digest = hasher.finish();
  EXPECT_EQ(put(hole), created);
  EXPECT_EQ(look("hole")->st_size, static_cast<off_t>(size));
  EXPECT_EQ(look("hole")->st_blocks, 0);
}

TEST_F(PlacerTest, StaleTemporariesAreOverwritten) {
  target.file(temporary("file"), "of an interrupted restore, longer than the file");
  target.folder(temporary("fifo"));
  target.file(temporary("fifo") + "/below");
  source.file("outside", "kept");
  target.link(source.path("outside"), temporary("link"));
  target.link(source.path("outside"), temporary("other"));
  EXPECT_EQ(placer().others_in("", {"file"}).size(), 3U);
  const Entry entry = file("file", "content");
  EXPECT_EQ(put(entry, "content"), created);
  EXPECT_EQ(state(entry), State::same);
  EXPECT_EQ(content("file"), "content");
  EXPECT_EQ(put(of_type("fifo", FileType::fifo)), created);
  EXPECT_EQ(put(of_type("link", FileType::symlink)), created);
  EXPECT_EQ(put(file("other", "x"), "x"), created);
  EXPECT_EQ(left(), (std::vector<std::string>{"fifo", "file", "link", "other"}));
  EXPECT_EQ(read_file(source.root(), "outside", 100, ExitStatus::io), "kept");
}

// A temporary that was backed up would be mistaken for this restore's own.
TEST_F(PlacerTest, TemporariesAreNotRestored) {
  const std::string name = temporary("file");
  EXPECT_EQ(state(file(name, "x")), State::blocked);
  EXPECT_EQ(put(file(name, "x"), "x"), failure("name", EINVAL));
  EXPECT_EQ(put(of_type(name, FileType::fifo)), failure("name", EINVAL));
  EXPECT_EQ(put(of_type(name, FileType::folder)), failure("name", EINVAL));
  EXPECT_EQ(placer().place_link(file(name, "x"), "file", false), failure("name", EINVAL));
  EXPECT_EQ(put(file(".syncropy-restore.notes", "x"), "x"), created);
}

// NFS and FUSE may refuse RENAME_NOREPLACE with EINVAL.
TEST_F(PlacerTest, FilesystemsWithoutNoReplace) {
  in_child([&] {
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{std::size(filter), filter};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return say_not_tested("seccomp");
    target.file("probe");
    ASSERT_EQ(::renameat2(target.root(), "probe", target.root(), "probe2", RENAME_NOREPLACE), -1);
    ASSERT_EQ(::unlinkat(target.root(), "probe", 0), 0);
    const Entry entry = file("file", "content");
    EXPECT_EQ(put(entry, "content"), created);
    EXPECT_EQ(put(entry, "content"), failure("file", EEXIST));
    EXPECT_EQ(put(entry, "content", true), replaced);
    const Entry fifo = of_type("fifo", FileType::fifo);
    EXPECT_EQ(put(fifo), created);
    EXPECT_EQ(put(fifo).result, RestoreResult::failed);
    EXPECT_EQ(state(entry), State::same);
    EXPECT_EQ(state(fifo), State::same);
    EXPECT_EQ(look("file")->st_nlink, 1U);
    EXPECT_EQ(left(), (std::vector<std::string>{"fifo", "file"}));
  });
}

TEST_F(PlacerTest, AFullDiskEndsTheRestoreAndLeavesNoTemporary) {
  in_child([&] {
    if (::geteuid() != 0 || !enter_mount_namespace()) return say_not_tested("mounts: this user may not");
    ASSERT_EQ(::mount("none", target.path().c_str(), "tmpfs", 0, "size=256k"), 0);
    anew();
    const std::string bytes(1U << 20, 'x');
    const auto is_io = [](const auto& act) {
      try {
        static_cast<void>(act());
      } catch (const Error& error) {
        return error.status() == ExitStatus::io;
      }
      return false;
    };
    EXPECT_TRUE(is_io([&] { return put(file("large", bytes), bytes); }));
    EXPECT_TRUE(left().empty());
    ASSERT_EQ(::mount("none", target.path().c_str(), "tmpfs", 0, "nr_inodes=3"), 0);
    anew();
    EXPECT_EQ(put(file("first", "x"), "x"), created);
    EXPECT_EQ(put(file("second", "x"), "x"), created);
    EXPECT_TRUE(is_io([&] { return put(file("third", "x"), "x"); }));
    EXPECT_TRUE(is_io([&] { return put(of_type("fifo", FileType::fifo)); }));
    EXPECT_TRUE(is_io([&] { return put(of_type("folder", FileType::folder)); }));
    EXPECT_EQ(left(), (std::vector<std::string>{"first", "second"}));
    ASSERT_EQ(::mount("none", target.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
    Entry entry = file("first", "x");
    EXPECT_EQ(state(entry), State::same);
    entry.stat.mode = 0600;
    EXPECT_EQ(state(entry), State::attributes);
    EXPECT_TRUE(is_io([&] { return placer().adjust(entry); }));
  });
}

TEST_F(PlacerTest, AFileThatIsTooLargeForTheFilesystemFailsAlone) {
  Entry entry = file("large", "x");
  entry.stat.size = limits::file_bytes;
  RestoreOutcome outcome;
  std::optional<Aside> aside = placer().begin(entry, outcome);
  ASSERT_TRUE(aside);
  in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10, 10};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    aside->write(20, "x");
    aside->write(21, "x");
    EXPECT_EQ(placer().finish(std::move(*aside), entry, false), failure("content", EFBIG));
  });
}

// --- Folders and others

TEST_F(PlacerTest, OthersInAFolder) {
  target.folder("folder");
  for (const char* name : {"a", "b", "c", "-", ".hidden"}) target.file(std::string("folder/") + name);
  target.file("folder/" + temporary("b"));
  EXPECT_EQ(placer().others_in("folder", {"b", "-"}), (std::vector<std::string>{".hidden", "a", "c"}));
  EXPECT_EQ(placer().others_in("folder", {"-"}), (std::vector<std::string>{".hidden", temporary("b"), "a", "b", "c"}));
  EXPECT_EQ(placer().others_in("", {}), std::vector<std::string>{"folder"});
  EXPECT_TRUE(placer().others_in("no-such", {}).empty());
  EXPECT_TRUE(placer().others_in("folder/a", {}).empty());
}

TEST_F(PlacerTest, Remove) {
  target.folder("folder");
  target.folder("folder/below");
  target.file("folder/below/file");
  EXPECT_EQ(state(file("folder/below/file", "x")), State::different);
  Shortfall problem;
  EXPECT_TRUE(placer().remove("folder/below", problem));
  EXPECT_EQ(placer().open_folder(of_type("folder/below", FileType::folder), false), created);
  EXPECT_EQ(put(file("folder/below/file", "x"), "x"), created) << "into the folder that was removed";
  EXPECT_TRUE(placer().remove("folder", problem));
  EXPECT_TRUE(placer().remove("folder", problem)) << "nothing is left";
  EXPECT_TRUE(placer().remove("no/such", problem));
  EXPECT_FALSE(placer().remove("", problem));
  EXPECT_EQ(problem, shortfall("removal", EBUSY));
}

TEST_F(PlacerTest, AFolderInPlaceOfSomethingThatWasHeld) {
  target.file("place", "x");
  const Entry folder = of_type("place", FileType::folder);
  EXPECT_EQ(placer().open_folder(folder, false), failure("folder", EEXIST));
  EXPECT_EQ(placer().open_folder(folder, true), replaced);
  EXPECT_EQ(look("place")->st_mode & 07777, 0700U);
  EXPECT_EQ(put(file("place/file", "x"), "x"), created);
  EXPECT_EQ(placer().finish_folder(folder), adjusted);
  EXPECT_EQ(state(folder), State::same);
  EXPECT_EQ(placer().finish_folder(of_type("gone", FileType::folder)), failure("folder", ENOENT));
  EXPECT_EQ(put(file("gone/file", "x"), "x"), failure("folder", ENOENT));
}

TEST_F(PlacerTest, PathsLongerThanACallTakes) {
  std::string path;
  const std::string name(200, 'd');
  for (int i = 0; i < 30; ++i) {
    path += (path.empty() ? "" : "/") + name;
    ASSERT_EQ(placer().open_folder(of_type(path, FileType::folder), false), created);
  }
  const Entry entry = file(path + "/file", "x");
  EXPECT_EQ(put(entry, "x"), created);
  EXPECT_EQ(state(entry), State::same);
  Entry second = entry;
  second.path = "second";
  EXPECT_EQ(placer().place_link(second, entry.path, false), created);
  EXPECT_EQ(placer().finish_folder(of_type(path, FileType::folder)), adjusted);
  Shortfall problem;
  EXPECT_TRUE(placer().remove(name, problem)) << problem;
}

}  // namespace
}  // namespace syncropy

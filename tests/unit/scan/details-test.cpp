#include "scan/details.hpp"

#include <acl/libacl.h>
#include <sys/acl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include <algorithm>
#include <memory>

#include "model/limits.hpp"
#include "tree.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

using Acl = std::unique_ptr<std::remove_pointer_t<acl_t>, int (*)(void*)>;

Acl acl_of(const char* text) { return {::acl_from_text(text), ::acl_free}; }

class DetailsTest : public testing::Test {
 protected:
  [[nodiscard]] Fd open(const char* name, int flags = O_RDONLY) const {
    Fd fd(::openat(tree.root(), name, flags | O_NOFOLLOW | O_CLOEXEC));
    EXPECT_TRUE(fd) << name << ": " << std::strerror(errno);
    return fd;
  }
  [[nodiscard]] Details details_of(const Fd& fd, bool acl = true) { return read_details(fd.get(), stat_of(fd.get()), acl, names); }
  // Whether `result` was a success; ENOTSUP and EPERM are said aloud.
  static bool can(int result, const std::string& what) {
    if (result == 0) return true;
    const int code = errno;
    EXPECT_TRUE(code == ENOTSUP || code == EPERM) << what << ": " << std::strerror(code);
    say_not_tested(what + ": " + std::strerror(code));
    return false;
  }
  Tree tree;
  AccountNames names;
};

TEST_F(DetailsTest, StatOfEveryType) {
  tree.file("file", "12345");
  tree.folder("folder");
  tree.link("target", "link");
  ASSERT_EQ(::mkfifoat(tree.root(), "fifo", 0600), 0);
  ASSERT_EQ(::fchmodat(tree.root(), "file", 06755, 0), 0);

  const Stat file = stat_of(open("file").get());
  EXPECT_EQ(file.type, FileType::regular);
  EXPECT_EQ(file.size, 5U);
  EXPECT_EQ(file.mode, 06755);
  EXPECT_EQ(file.uid, ::geteuid());
  struct stat expected;
  ASSERT_EQ(::fstatat(tree.root(), "file", &expected, 0), 0);
  EXPECT_EQ(file.inode, expected.st_ino);
  EXPECT_EQ(file.filesystem, expected.st_dev);
  EXPECT_EQ(file.mtime, (Timestamp{expected.st_mtim.tv_sec, static_cast<std::uint32_t>(expected.st_mtim.tv_nsec)}));
  EXPECT_EQ(file.ctime, (Timestamp{expected.st_ctim.tv_sec, static_cast<std::uint32_t>(expected.st_ctim.tv_nsec)}));

  EXPECT_EQ(stat_of(open("folder").get()).type, FileType::folder);
  EXPECT_EQ(stat_of(open("folder").get()).size, 0U);
  EXPECT_EQ(stat_of(open("link", O_PATH).get()).type, FileType::symlink);
  EXPECT_EQ(stat_of(open("link", O_PATH).get()).size, 6U);
  EXPECT_EQ(stat_of(open("fifo", O_PATH).get()).type, FileType::fifo);
  EXPECT_THROW((void)stat_of(-1), SystemError);
}

TEST_F(DetailsTest, TimesBefore1970KeepTheirNanoseconds) {
  tree.file("old");
  const timespec times[2] = {{-5, 7}, {-5, 123'456'789}};
  ASSERT_EQ(::utimensat(tree.root(), "old", times, 0), 0);
  EXPECT_EQ(stat_of(open("old").get()).mtime, (Timestamp{-5, 123'456'789}));
}

TEST_F(DetailsTest, NamesOfOwners) {
  EXPECT_EQ(names.user(0), "root");
  EXPECT_EQ(names.group(0), "root");
  EXPECT_EQ(names.user(3'999'999'999), "");
  EXPECT_EQ(names.user(0), "root");
  tree.file("file");
  const Details details = details_of(open("file"));
  EXPECT_EQ(details.owner, names.user(::geteuid()));
  EXPECT_EQ(details.group, names.group(stat_of(open("file").get()).gid));
}

TEST_F(DetailsTest, AccessAclWithNamesAndWithout) {
  tree.file("file");
  const Fd fd = open("file");
  const Acl acl = acl_of("u::rw-,u:0:rwx,u:3999999999:r--,g::r--,g:0:-w-,m::rwx,o::---");
  ASSERT_TRUE(acl);
  if (!can(::acl_set_fd(fd.get(), acl.get()), "access ACLs")) return;
  const Details details = details_of(fd);
  const std::vector<AclEntry> expected{
      {AclTag::user_owner, 6, 0, ""},   {AclTag::user, 7, 0, "root"},   {AclTag::user, 4, 3'999'999'999, ""},
      {AclTag::group_owner, 4, 0, ""},  {AclTag::group, 2, 0, "root"},  {AclTag::mask, 7, 0, ""},
      {AclTag::other, 0, 0, ""},
  };
  EXPECT_EQ(details.access_acl, expected);
  EXPECT_TRUE(details.default_acl.empty());
  EXPECT_TRUE(details.xattrs.empty()) << "an ACL is no extended attribute";

  const Details without = details_of(fd, false);
  EXPECT_TRUE(without.access_acl.empty());
  EXPECT_TRUE(without.xattrs.empty());
}

TEST_F(DetailsTest, AclThatRepeatsTheModeIsNone) {
  tree.file("file");
  const Fd fd = open("file");
  if (!can(::acl_set_fd(fd.get(), acl_of("u::rw-,g::r--,o::r--").get()), "minimal ACLs")) return;
  EXPECT_TRUE(details_of(fd).access_acl.empty());
}

TEST_F(DetailsTest, DefaultAclOfAFolder) {
  tree.folder("folder");
  const Acl acl = acl_of("u::rwx,g::r-x,o::---");
  if (!can(::acl_set_file(tree.path("folder").c_str(), ACL_TYPE_DEFAULT, acl.get()), "default ACLs")) return;
  const Details details = details_of(open("folder"));
  const std::vector<AclEntry> expected{{AclTag::user_owner, 7, 0, ""}, {AclTag::group_owner, 5, 0, ""}, {AclTag::other, 0, 0, ""}};
  EXPECT_EQ(details.default_acl, expected);
  EXPECT_TRUE(details.access_acl.empty());
}

TEST_F(DetailsTest, AclOfAFifo) {
  ASSERT_EQ(::mkfifoat(tree.root(), "fifo", 0600), 0);
  if (!can(::acl_set_file(tree.path("fifo").c_str(), ACL_TYPE_ACCESS, acl_of("u::rw-,u:0:r--,g::---,m::r--,o::---").get()), "ACLs of FIFOs")) {
    return;
  }
  const Details details = details_of(open("fifo", O_PATH));
  ASSERT_EQ(details.access_acl.size(), 5U);
  EXPECT_EQ(details.access_acl[1], (AclEntry{AclTag::user, 4, 0, "root"}));
}

TEST_F(DetailsTest, ExtendedAttributesAreSortedBytes) {
  tree.file("file");
  const Fd fd = open("file", O_RDWR);
  const std::string bytes("\0\xff\n", 3);
  if (!can(::fsetxattr(fd.get(), "user.z", "last", 4, 0), "user attributes")) return;
  ASSERT_EQ(::fsetxattr(fd.get(), "user.a", bytes.data(), bytes.size(), 0), 0);
  ASSERT_EQ(::fsetxattr(fd.get(), "user.empty", "", 0, 0), 0);
  const std::vector<Xattr> expected{{"user.a", bytes}, {"user.empty", ""}, {"user.z", "last"}};
  EXPECT_EQ(details_of(fd).xattrs, expected);
}

TEST_F(DetailsTest, CapabilitiesAreARawAttribute) {
  tree.file("program", "x");
  const Fd fd = open("program", O_RDWR);
  // vfs_cap_data of linux/capability.h, revision 2 with the effective bit: cap_net_raw permitted.
  const std::string capability("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  if (!can(::fsetxattr(fd.get(), "security.capability", capability.data(), capability.size(), 0), "file capabilities")) return;
  const std::vector<Xattr> expected{{"security.capability", capability}};
  EXPECT_EQ(details_of(fd).xattrs, expected);
}

TEST_F(DetailsTest, AttributesOfASymbolicLinkAreItsOwn) {
  tree.file("target");
  tree.link("target", "link");
  const Details plain = details_of(open("link", O_PATH));
  EXPECT_EQ(plain.link_target, "target");
  if (!can(::lsetxattr(tree.path("link").c_str(), "trusted.mine", "1", 1, 0), "attributes of symbolic links")) return;
  const std::vector<Xattr> expected{{"trusted.mine", "1"}};
  EXPECT_EQ(details_of(open("link", O_PATH)).xattrs, expected);
  EXPECT_TRUE(details_of(open("target")).xattrs.empty());
}

TEST_F(DetailsTest, LinkTargetsAreBytesUpToTheLongest) {
  const std::string longest(limits::link_target_bytes, 'x');
  if (::symlinkat(longest.c_str(), tree.root(), "longest") == 0) {
    EXPECT_EQ(details_of(open("longest", O_PATH)).link_target, longest);
  } else {
    EXPECT_EQ(errno, ENAMETOOLONG) << "only a filesystem with shorter targets may refuse";
  }
  tree.link("\xff\n/..", "odd");
  EXPECT_EQ(details_of(open("odd", O_PATH)).link_target, "\xff\n/..");
}

TEST_F(DetailsTest, SocketsAndDevicesAreReadWithoutBeingOpened) {
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = tree.path("socket");
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const Fd opened = open("socket", O_PATH);
  EXPECT_EQ(stat_of(opened.get()).type, FileType::socket);
  EXPECT_EQ(details_of(opened).owner, names.user(::geteuid()));

  if (!can(::mknodat(tree.root(), "device", S_IFCHR | 0600, ::makedev(10, 229)), "devices")) return;
  const Fd device = open("device", O_PATH);
  const Stat stat = stat_of(device.get());
  EXPECT_EQ(stat.type, FileType::character_device);
  EXPECT_EQ(stat.device_major, 10U);
  EXPECT_EQ(stat.device_minor, 229U);
  EXPECT_EQ(stat.size, 0U);
  EXPECT_TRUE(details_of(device).access_acl.empty());
}

class Sparse : public DetailsTest {
 protected:
  static constexpr std::uint64_t mib = 1U << 20;
  // A file of `size` bytes that holds data in `extents` only.
  Details extents_of(std::uint64_t size, const std::vector<Extent>& extents) {
    tree.file("sparse");
    const Fd fd = open("sparse", O_RDWR);
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    for (const Extent& extent : extents) {
      const std::string data(extent.length, 'd');
      EXPECT_EQ(::pwrite(fd.get(), data.data(), data.size(), static_cast<off_t>(extent.offset)), static_cast<ssize_t>(data.size()));
    }
    Details details;
    std::uint64_t allocated = 0;
    const Stat stat = stat_of(fd.get(), &allocated);
    read_extents(fd.get(), stat, allocated, details);
    EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 0) << "a reader would begin in the middle";
    return details;
  }
  void expect(std::uint64_t size, const std::vector<Extent>& extents) {
    const Details details = extents_of(size, extents);
    EXPECT_TRUE(details.sparse);
    EXPECT_EQ(details.extents, extents);
  }
};

TEST_F(Sparse, HoleAtTheStart) { expect(4 * mib, {{3 * mib, mib}}); }
TEST_F(Sparse, HoleInTheMiddle) { expect(4 * mib, {{0, mib}, {3 * mib, mib}}); }
TEST_F(Sparse, HoleAtTheEnd) { expect(4 * mib, {{0, mib}}); }
TEST_F(Sparse, OnlyAHole) { expect(4 * mib, {}); }
TEST_F(Sparse, FiveGigabytes) { expect(5'120 * mib, {{4'096 * mib, mib}}); }

TEST_F(Sparse, FullAndEmptyFilesAreNot) {
  EXPECT_FALSE(extents_of(mib, {{0, mib}}).sparse);
  EXPECT_FALSE(extents_of(0, {}).sparse);
  EXPECT_FALSE(extents_of(100, {{0, 100}}).sparse);
}

TEST_F(Sparse, ALastExtentEndsWithTheFile) {
  const Details details = extents_of(2 * mib + 10, {{2 * mib, 10}});
  EXPECT_TRUE(details.sparse);
  EXPECT_EQ(details.extents, (std::vector<Extent>{{2 * mib, 10}}));
}

TEST_F(Sparse, BeyondTheBoundTheLastExtentRunsToTheEnd) {
  constexpr std::uint64_t step = 131'072;
  tree.file("sparse");
  const Fd fd = open("sparse", O_RDWR);
  const std::uint64_t size = step * (limits::extents + 10);
  ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  for (std::uint64_t i = 0; i < limits::extents + 5; ++i) ASSERT_EQ(::pwrite(fd.get(), "d", 1, static_cast<off_t>(i * step)), 1);
  Details details;
  std::uint64_t allocated = 0;
  const Stat stat = stat_of(fd.get(), &allocated);
  read_extents(fd.get(), stat, allocated, details);
  ASSERT_EQ(details.extents.size(), limits::extents);
  EXPECT_EQ(details.extents.back().offset + details.extents.back().length, size);
}

}  // namespace
}  // namespace syncropy

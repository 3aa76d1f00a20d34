#include "util/ownership.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "tests/support/scratch.hpp"

namespace syncropy {
namespace {

namespace fs = std::filesystem;

TEST(Ownership, EveryFolderAboveCounts) {
  const Scratch scratch;
  const std::string outer = scratch.path() + "/outer", inner = outer + "/inner";
  fs::create_directories(inner);
  ::chmod(outer.c_str(), 0755);
  ::chmod(inner.c_str(), 0777);
  EXPECT_EQ(changeable_above(inner, ::geteuid()), "") << "of the folder itself nothing is said";
  EXPECT_EQ(changeable_above(inner + "/x", ::geteuid()), inner);
  for (const mode_t mode : {0775U, 0757U}) {
    ::chmod(outer.c_str(), mode);
    EXPECT_EQ(changeable_above(inner + "/x", ::geteuid()), outer);
  }
  ::chmod(outer.c_str(), 01777);
  EXPECT_EQ(changeable_above(inner, ::geteuid()), "");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(outer.c_str(), 65'534, 65'534), 0);
    EXPECT_EQ(changeable_above(inner, 0), outer) << "its owner needs no permission, nor heeds the sticky bit";
    ::chmod(outer.c_str(), 0755);
    EXPECT_EQ(changeable_above(inner, 0), outer);
    EXPECT_EQ(changeable_above(inner, 65'534), "");
  }
  EXPECT_THROW(static_cast<void>(changeable_above("/no/such/folder", 0)), Error);
}

TEST(Ownership, LinksAreResolved) {
  const Scratch scratch;
  fs::create_directory(scratch.path() + "/folder");
  fs::create_directory_symlink("folder", scratch.path() + "/link");
  EXPECT_EQ(resolved_path(scratch.path() + "/link"), resolved_path(scratch.path()) + "/folder");
  EXPECT_EQ(resolved_path(scratch.path() + "/none"), "");
}

}  // namespace
}  // namespace syncropy

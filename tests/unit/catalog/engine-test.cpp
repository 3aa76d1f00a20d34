#include "catalog/engine.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "fixture.hpp"
#include "util/file.hpp"

namespace syncropy::test {
namespace {

// Starts this program as a second one; the exit status.
class Process {
 public:
  explicit Process(std::vector<std::string> arguments, bool limited = false) {
    arguments.insert(arguments.begin(), "/proc/self/exe");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    id_ = ::fork();
    if (id_ != 0) return;
    if (limited) {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{4U << 20, 4U << 20};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
  int wait() {
    int status = 0;
    ::waitpid(id_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

 private:
  pid_t id_;
};

class EngineTest : public CatalogTest {};
INSTANTIATE_TEST_SUITE_P(Embedded, EngineTest, ::testing::Values(Where::embedded), name_of_place);

TEST_P(EngineTest, folder_is_for_its_owner_alone_and_holds_all_that_the_engine_writes) {
  Catalog catalog(location);
  struct stat st{};
  ASSERT_EQ(::stat(location.engine_folder.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
  std::string names;
  for (const std::string& name : names_in(::open(location.engine_folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC))) names += name + " ";
  EXPECT_NE(names.find("fb_lock_"), std::string::npos) << names;
  EXPECT_EQ(names.find(".new-"), std::string::npos) << names;
}

TEST_P(EngineTest, second_folder_is_refused) {
  expect_error(ExitStatus::internal, "a second folder", [&] { use_engine_folder(run_folder() + "/other"); });
}

// `syncropy list` beside a backup that another process runs.
TEST_P(EngineTest, two_processes_work_on_one_database) {
  Catalog catalog(location);
  record(catalog, dataset_info("mine", 1), {}, {file("a")});
  Catalog::Recording open = catalog.record("mine", 2);
  open.begin_version(file("b"));
  Process other({"--record", location.engine_folder, location.database, "other", "5000"});
  EXPECT_EQ(other.wait(), 0);
  for (int i = 0; i < 1000; ++i) open.begin_version(file("c" + std::to_string(i)));
  open.commit(dataset_info("mine", 2));
  EXPECT_EQ(catalog.datasets().size(), 3U);
  EXPECT_EQ(first_row(catalog, "SELECT COUNT(*) FROM files WHERE client = 'other'"), "5000");
}

TEST_P(EngineTest, several_processes_make_one_catalog_at_once) {
  std::vector<Process> all;
  for (int i = 0; i < 4; ++i) all.emplace_back(std::vector<std::string>{"--record", location.engine_folder, location.database, "client" + std::to_string(i), "100"});
  for (Process& process : all) EXPECT_EQ(process.wait(), 0);
  Catalog catalog(location);
  EXPECT_EQ(catalog.datasets().size(), 4U);
}

// A limit on the size of a file stands for a full disk: the same failed write with another errno.
TEST_P(EngineTest, full_disk_is_an_error_and_leaves_the_catalog_as_it_was) {
  {
    Catalog catalog(location);
    record(catalog, dataset_info("mine", 1), {}, {file("a")});
  }
  Process other({"--record", location.engine_folder, location.database, "other", "100000"}, true);
  EXPECT_EQ(other.wait(), static_cast<int>(ExitStatus::io));
  Catalog catalog(location);
  EXPECT_EQ(catalog.datasets().size(), 1U);
  record(catalog, dataset_info("other", 1), {}, {file("a")});
}

TEST_P(EngineTest, killed_recorder_leaves_the_catalog_usable) {
  { Catalog catalog(location); }
  const pid_t id = ::fork();
  if (id == 0) {
    ::execl("/proc/self/exe", "catalog-test", "--record", location.engine_folder.c_str(), location.database.c_str(), "other", "10000000", nullptr);
    ::_exit(127);
  }
  std::this_thread::sleep_for(std::chrono::seconds(2));
  ASSERT_EQ(::kill(id, SIGKILL), 0);
  ::waitpid(id, nullptr, 0);
  Catalog catalog(location);
  EXPECT_TRUE(catalog.datasets("other").empty());
  record(catalog, dataset_info("other", 1), {}, {file("a")});
  EXPECT_EQ(paths_of(catalog, "other", 1), "/a");
}

}  // namespace
}  // namespace syncropy::test

#include "catalog/engine.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "fixture.hpp"
#include "util/fd.hpp"
#include "util/file.hpp"

namespace syncropy::test {
namespace {

// This program once more, as the second process that main.cpp tells of.
class Process {
 public:
  struct Terms {
    bool small_files = false;  // none may grow above 4 MiB
    uid_t user = ::geteuid();
  };
  explicit Process(std::vector<std::string> arguments) : Process(std::move(arguments), Terms{}) {}
  Process(std::vector<std::string> arguments, Terms terms) {
    arguments.insert(arguments.begin(), "/proc/self/exe");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    id_ = ::fork();
    if (id_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      if (terms.small_files) {
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{4U << 20, 4U << 20};
        ::setrlimit(RLIMIT_FSIZE, &limit);
      }
      // The leak checker cannot trace a process that changed its user; this one's leaks are looked for in the parent's own tests.
      ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
      if (terms.user == ::geteuid() || ::setresuid(terms.user, terms.user, terms.user) == 0) ::execv(pointers[0], pointers.data());
      ::_exit(127);
    }
    Fd(in[0]).reset();
    Fd(out[1]).reset();
    input_ = Fd(in[1]);
    output_ = Fd(out[0]);
  }
  // Waits until --hold has opened its catalog.
  void wait_until_open() {
    char byte = 0;
    ASSERT_EQ(::read(output_.get(), &byte, 1), 1);
  }
  void kill() { ::kill(id_, SIGKILL); }
  int wait() {
    input_.reset();
    int status = 0;
    ::waitpid(id_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

 private:
  pid_t id_ = -1;
  Fd input_, output_;
};

class EngineTest : public CatalogTest {};
INSTANTIATE_TEST_SUITE_P(Embedded, EngineTest, ::testing::Values(Where::embedded), name_of_place);

TEST_P(EngineTest, folder_is_for_its_owner_alone_and_holds_all_that_the_engine_writes) {
  Catalog catalog(location);
  struct stat st{};
  ASSERT_EQ(::stat(location.engine_folder.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
  std::string names;
  const Fd folder(::open(location.engine_folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (const std::string& name : names_in(folder.get())) names += name + " ";
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
  Catalog::Recording open = catalog.record("mine", 2, 1);
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
  for (int i = 0; i < 4; ++i)
    all.emplace_back(std::vector<std::string>{"--record", location.engine_folder, location.database, "client" + std::to_string(i), "100"});
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
  Process other({"--record", location.engine_folder, location.database, "other", "100000"}, {.small_files = true});
  EXPECT_EQ(other.wait(), static_cast<int>(ExitStatus::io));
  Catalog catalog(location);
  EXPECT_EQ(catalog.datasets().size(), 1U);
  record(catalog, dataset_info("other", 1), {}, {file("a")});
}

TEST_P(EngineTest, killed_recorder_leaves_the_catalog_usable) {
  { Catalog catalog(location); }
  Process other({"--record", location.engine_folder, location.database, "other", "1000000"});
  const auto begun = std::filesystem::file_size(location.database);
  while (std::filesystem::file_size(location.database) < begun + (4U << 20)) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  other.kill();
  EXPECT_EQ(other.wait(), 1000 + SIGKILL);
  Catalog catalog(location);
  EXPECT_TRUE(catalog.datasets("other").empty());
  record(catalog, dataset_info("other", 1), {}, {file("a")});
  EXPECT_EQ(paths_of(catalog, "other", 1), "/a");
}

// The engine runs what it finds in intl/: nobody may put anything else there, not even the folder's owner.
TEST_P(EngineTest, character_sets_are_the_installed_ones_or_none) {
  const std::string engine = run_folder() + "/planted", database = engine + ".fdb", intl = engine + "/intl";
  ASSERT_EQ(Process({"--record", engine, database, "web1", "1"}).wait(), 0);
  const std::filesystem::path installed = std::filesystem::read_symlink(intl);
  ASSERT_TRUE(installed.is_absolute() && !installed.string().starts_with(engine)) << installed;
  std::filesystem::remove(intl);
  std::filesystem::create_symlink(run_folder(), intl);
  EXPECT_EQ(Process({"--record", engine, database, "web2", "1"}).wait(), 0);
  EXPECT_EQ(std::filesystem::read_symlink(intl), installed);
  std::filesystem::remove(intl);
  std::filesystem::create_directory(intl);
  EXPECT_EQ(Process({"--record", engine, database, "web3", "1"}).wait(), static_cast<int>(ExitStatus::repository));
  EXPECT_TRUE(std::filesystem::is_directory(intl)) << "what a person put there is not removed";
  std::filesystem::remove(intl);
}

// `sudo syncropy list` must not leave behind what the backup server's user cannot open. As an ordinary user all three are the same.
TEST_P(EngineTest, root_takes_nothing_from_the_owner) {
  const uid_t owner = ::geteuid() == 0 ? 65'534 : ::geteuid();
  const std::string home = run_folder() + "/home", engine = home + "/engine", database = home + "/catalog.fdb";
  ASSERT_EQ(::chmod(run_folder().c_str(), 0711), 0);
  ASSERT_EQ(::mkdir(home.c_str(), 0700), 0);
  ASSERT_EQ(::chown(home.c_str(), owner, static_cast<gid_t>(-1)), 0);
  EXPECT_EQ(Process({"--record", engine, database, "web1", "10"}, {.user = owner}).wait(), 0);
  Process root({"--hold", engine, database});
  root.wait_until_open();
  EXPECT_EQ(Process({"--record", engine, database, "web2", "10"}, {.user = owner}).wait(), 0);
  EXPECT_EQ(root.wait(), 0);
  EXPECT_EQ(Process({"--record", engine, database, "web3", "10"}, {.user = owner}).wait(), 0);
}

}  // namespace
}  // namespace syncropy::test

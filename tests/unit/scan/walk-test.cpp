#include "scan/walk.hpp"

#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "model/limits.hpp"
#include "tree.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

using namespace std::chrono_literals;

// Keeps all it is told, and checks what holds of every walk: valid paths, ascending, each after its folder.
class Listing : public WalkSink {
 public:
  struct Line {
    std::string path;
    Stat stat;
    bool unread;
  };
  std::vector<Line> lines;
  std::vector<WalkProblem> problems;

  void entry(std::string_view path, const Stat& stat, bool unread) override {
    EXPECT_EQ(why_not_a_path(path), nullptr);
    if (!lines.empty()) {
      EXPECT_TRUE(compare_paths(lines.back().path, path) < 0) << lines.back().path << " before " << path;
    }
    if (!path.empty()) {
      EXPECT_TRUE(folders_.contains(parent_of(path))) << path << " without its folder";
    }
    if (stat.type == FileType::folder) folders_.insert(std::string(path));
    lines.push_back({std::string(path), stat, unread});
  }
  void problem(const WalkProblem& problem) override { problems.push_back(problem); }

  [[nodiscard]] std::vector<std::string> paths() const {
    std::vector<std::string> all;
    for (const Line& line : lines) all.push_back(line.path);
    return all;
  }
  [[nodiscard]] const Line* find(std::string_view path) const {
    const auto found = std::find_if(lines.begin(), lines.end(), [&](const Line& line) { return line.path == path; });
    return found == lines.end() ? nullptr : &*found;
  }

 private:
  std::set<std::string, std::less<>> folders_;
};

using Paths = std::vector<std::string>;

class WalkTree : public testing::Test {
 protected:
  WalkTree() {
    request.root = tree.root();
    request.paths = {""};
  }
  [[nodiscard]] Listing listing() const {
    Listing result;
    walk(request, result);
    return result;
  }
  [[nodiscard]] Paths listed() const { return listing().paths(); }
  // What find(1) sees, in the order of a manifest.
  [[nodiscard]] Paths found() const {
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(("find '" + tree.path() + "' -printf '%P\\0'").c_str(), "r"), ::pclose);
    std::string all;
    std::array<char, 65'536> buffer;
    for (std::size_t size; (size = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) > 0;) all.append(buffer.data(), size);
    Paths paths;
    for (std::size_t at = 0; at < all.size(); at = all.find('\0', at) + 1) paths.emplace_back(all.c_str() + at);
    std::sort(paths.begin(), paths.end(), [](const auto& left, const auto& right) { return compare_paths(left, right) < 0; });
    return paths;
  }
  void expect_error(ExitStatus status, std::string_view text) const {
    Listing result;
    try {
      walk(request, result);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), status) << error.line();
      EXPECT_NE(error.line().find(text), std::string::npos) << error.line();
    }
    EXPECT_TRUE(result.lines.empty()) << "a wrong path must show before an hour of work";
  }
  Tree tree;
  WalkRequest request;
};

constexpr std::array thread_counts{1U, 2U, 5U};

class WalkTest : public WalkTree, public testing::WithParamInterface<unsigned> {
 protected:
  WalkTest() { request.threads = GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(Threads, WalkTest, testing::ValuesIn(thread_counts));

TEST_P(WalkTest, ListsWhatFindSeesInManifestOrder) {
  tree.folder("a");
  tree.file("a/x", "content");
  tree.file("a!");  // '!' sorts below '/', but after all that is in "a"
  tree.folder("a b");
  tree.folder("b");
  tree.folder("b/empty");
  tree.folder("b/deep");
  tree.folder("b/deep/deeper");
  tree.file("b/deep/deeper/end");
  tree.link("../../..", "b/up");
  tree.link("nowhere", "dangling");
  tree.file("B");
  tree.file("\xff");
  tree.file("\x01");
  ASSERT_EQ(::mkfifoat(tree.root(), "fifo", 0600), 0);
  const Listing result = listing();
  EXPECT_EQ(result.paths(), found());
  EXPECT_TRUE(result.problems.empty());
  EXPECT_EQ(result.find("a/x")->stat.size, 7U);
  EXPECT_EQ(result.find("b")->stat.size, 0U);
  EXPECT_EQ(result.find("b/up")->stat.type, FileType::symlink);
  EXPECT_EQ(result.find("fifo")->stat.type, FileType::fifo);
}

TEST_P(WalkTest, NamesAreAnyBytes) {
  const Paths names{std::string(255, 'n'), "new\nline", "\x1b[2Jescape", "\xc3\x28invalid", "back\\slash", "-dash", " ", "...", "~", "'\"$`"};
  for (const std::string& name : names) {
    tree.folder(name);
    tree.file(name + "/" + name);
  }
  EXPECT_EQ(listed(), found());
}

TEST_F(WalkTree, LargeFoldersAreSortedAndWhole) {
  tree.folder("large");
  for (int i = 0; i < 3'500; ++i) tree.file("large/" + std::to_string(i * 7'919 % 3'500));  // several chunks
  tree.folder("wide");
  for (int i = 0; i < 100; ++i) {
    const std::string folder = "wide/" + std::to_string(i);
    tree.folder(folder);
    for (int j = 0; j < 5; ++j) tree.file(folder + "/" + std::to_string(j));
  }
  const Paths expected = found();
  for (request.threads = 1; request.threads <= 5; ++request.threads) EXPECT_EQ(listed(), expected);
}

TEST_F(WalkTree, FewDescriptorsAreEnough) {
  tree.folder("wide");
  for (int i = 0; i < 5'000; ++i) tree.folder("wide/" + std::to_string(i));
  {
    // Folders with many more below each, so that all want to stay open.
    Fd at = tree.chain("level", 1);
    for (int i = 0; i < 350; ++i) {
      ASSERT_EQ(::mkdirat(at.get(), "zz", 0755), 0);
      ASSERT_EQ(::mkdirat(at.get(), "level", 0755), 0);
      at = Fd(::openat(at.get(), "level", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
  }
  const Paths expected = found();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 256;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  for (const unsigned threads : thread_counts) {
    request.threads = threads;
    EXPECT_EQ(listed(), expected);
  }
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_P(WalkTest, PathsLongerThanAnyCallTakes) {
  const std::string name(255, 'p');
  const Fd end = tree.chain(name, 200);
  const Fd file(::openat(end.get(), "end", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  const Listing result = listing();
  ASSERT_EQ(result.lines.size(), 202U);
  EXPECT_EQ(result.lines.back().path.size(), 200U * 256 + 3);
  EXPECT_TRUE(result.problems.empty());
}

TEST_F(WalkTree, NineHundredFoldersDeep) {
  (void)tree.chain("d", 900);
  for (const unsigned threads : thread_counts) {
    request.threads = threads;
    EXPECT_EQ(listed().size(), 901U);
  }
}

TEST_P(WalkTest, PathsBeyondTheBoundsAreProblemsAndNotSilence) {
  (void)tree.chain("d", 5);
  request.max_depth = 3;
  const Listing shallow = listing();
  EXPECT_EQ(shallow.paths(), (Paths{"", "d", "d/d", "d/d/d"}));
  EXPECT_TRUE(shallow.lines.back().unread);
  ASSERT_EQ(shallow.problems.size(), 1U);
  EXPECT_EQ(shallow.problems[0].path, "d/d/d");
  EXPECT_EQ(shallow.problems[0].code, ENAMETOOLONG);

  request.max_depth = 1'000;
  (void)tree.chain(std::string(255, 'p'), 260);
  const Listing deep = listing();
  ASSERT_EQ(deep.problems.size(), 1U);
  EXPECT_EQ(deep.problems[0].code, ENAMETOOLONG);
  EXPECT_TRUE(deep.lines.back().unread);
  EXPECT_LE(deep.lines.back().path.size(), limits::path_bytes);
}

TEST_P(WalkTest, WantedPathsComeWithTheirAncestorsAndNothingElse) {
  tree.folder("etc");
  tree.file("etc/other");
  tree.folder("etc/app");
  tree.file("etc/app/conf");
  tree.folder("etc/app2");
  tree.file("etc/app2/x");
  tree.folder("var");
  tree.folder("var/lib");
  tree.file("var/lib/file");
  tree.file("var/log");
  request.paths = {"var/lib/file", "etc/app2", "etc/app"};
  EXPECT_EQ(listed(), (Paths{"", "etc", "etc/app", "etc/app/conf", "etc/app2", "etc/app2/x", "var", "var/lib", "var/lib/file"}));
  request.paths = {"etc/app", "etc", "etc", "etc/app/conf"};
  EXPECT_EQ(listed(), (Paths{"", "etc", "etc/app", "etc/app/conf", "etc/app2", "etc/app2/x", "etc/other"}));
  request.paths = {"etc", "", "var"};
  EXPECT_EQ(listed(), found());
  request.paths = {};
  EXPECT_EQ(listed(), Paths{});
}

TEST_P(WalkTest, WrongWantedPathsAreNamed) {
  tree.folder("real");
  tree.file("real/file");
  tree.link("real", "link");
  request.paths = {"real", "missing/below"};
  expect_error(ExitStatus::no_input, "there is no /missing");
  request.paths = {"link/file"};
  expect_error(ExitStatus::no_input, "/link/file passes through the symbolic link /link");
  request.paths = {"real/file/below"};
  expect_error(ExitStatus::no_input, "/real/file is not a folder");
  request.paths = {"real/../real"};
  expect_error(ExitStatus::no_input, "'.' or '..'");
  request.paths = {"mi\nssing"};
  expect_error(ExitStatus::no_input, "/mi\\nssing");
  request.paths = {"real/file"};
  request.denied = {"real"};
  expect_error(ExitStatus::refused, "denied");
  request.denied = {};
  request.excludes = {"/"};
  expect_error(ExitStatus::config, "exclude");
}

TEST_P(WalkTest, AWantedSymbolicLinkIsListedAsOne) {
  tree.folder("real");
  tree.file("real/file");
  tree.link("real", "link");
  request.paths = {"link"};
  const Listing result = listing();
  EXPECT_EQ(result.paths(), (Paths{"", "link"}));
  EXPECT_EQ(result.lines[1].stat.type, FileType::symlink);
}

TEST_P(WalkTest, ExcludedAndDeniedAreLeftOutWithAllInThem) {
  tree.folder("home");
  tree.folder("home/anna");
  tree.folder("home/anna/.cache");
  tree.file("home/anna/.cache/x");
  tree.file("home/anna/main.o");
  tree.file("home/anna/main.c");
  tree.folder("home/anna/tmp");
  tree.file("home/anna/tmp/x");
  tree.folder("srv");
  tree.folder("srv/secret");
  tree.file("srv/secret/key");
  tree.file("srv/tmp");
  request.excludes = {".cache", "*.o", "tmp/"};
  request.denied = {"srv/secret"};
  EXPECT_EQ(listed(), (Paths{"", "home", "home/anna", "home/anna/main.c", "srv", "srv/tmp"}));
  request.excludes = {"/home/**", "/srv/tmp"};
  EXPECT_EQ(listed(), (Paths{"", "home", "srv"}));
  // What is named as wanted is wanted, whatever a pattern says of its parents.
  request.paths = {"home/anna/.cache"};
  request.excludes = {".cache", "anna"};
  EXPECT_EQ(listed(), (Paths{"", "home", "home/anna", "home/anna/.cache", "home/anna/.cache/x"}));
  request.paths = {"home/anna"};
  request.excludes = {"/home/anna/tmp", "/anna"};
  EXPECT_EQ(listed(), (Paths{"", "home", "home/anna", "home/anna/.cache", "home/anna/.cache/x", "home/anna/main.c", "home/anna/main.o"}));
}

TEST_P(WalkTest, ClosedFoldersAreProblemsAndTheWalkGoesOn) {
  tree.folder("closed");
  tree.file("closed/inside");
  tree.folder("names-only");
  tree.file("names-only/inside");
  tree.folder("open");
  tree.file("open/file");
  tree.folder("through");
  tree.folder("through/open");
  tree.file("through/open/file");
  ASSERT_EQ(::fchmodat(tree.root(), "closed", 0000, 0), 0);
  ASSERT_EQ(::fchmodat(tree.root(), "names-only", 0444, 0), 0);
  ASSERT_EQ(::fchmodat(tree.root(), "through", 0111, 0), 0);
  ASSERT_EQ(::chmod(tree.path().c_str(), 0755), 0);
  in_child([&] {
    become_ordinary_user();
    const Listing result = listing();
    EXPECT_EQ(result.paths(), (Paths{"", "closed", "names-only", "open", "open/file", "through"}));
    EXPECT_TRUE(result.find("closed")->unread);
    EXPECT_TRUE(result.find("names-only")->unread);
    EXPECT_TRUE(result.find("through")->unread);
    EXPECT_FALSE(result.find("open")->unread);
    ASSERT_EQ(result.problems.size(), 3U);
    for (const WalkProblem& problem : result.problems) EXPECT_EQ(problem.code, EACCES) << problem.path;
    EXPECT_EQ(result.problems[0].tried, "open");
    EXPECT_EQ(result.problems[1].tried, "search");

    request.paths = {"through/open"};  // searchable is enough for a folder above
    EXPECT_EQ(listed(), (Paths{"", "through", "through/open", "through/open/file"}));
    request.paths = {"closed/inside"};
    expect_error(ExitStatus::refused, "/closed/inside may not be reached");
  });
}

TEST_P(WalkTest, OtherFilesystems) {
  tree.folder("data");
  tree.folder("data/mounted");
  tree.file("data/mounted/hidden");
  tree.folder("data/proc");
  tree.file("data/z");
  in_child([&] {
    if (!enter_mount_namespace() || ::mount("none", tree.path("data/mounted").c_str(), "tmpfs", 0, nullptr) != 0) {
      say_not_tested("other filesystems: this user may not mount");
      return;
    }
    tree.reopen();
    request.root = tree.root();
    tree.folder("data/mounted/sub");
    tree.file("data/mounted/sub/file");
    const Listing across = listing();
    EXPECT_EQ(across.paths(), (Paths{"", "data", "data/mounted", "data/mounted/sub", "data/mounted/sub/file", "data/proc", "data/z"}));
    EXPECT_NE(across.find("data/mounted")->stat.filesystem, across.find("data")->stat.filesystem);
    request.one_file_system = true;
    EXPECT_EQ(listed(), (Paths{"", "data", "data/mounted", "data/proc", "data/z"}));
    request.paths = {"data/mounted"};
    EXPECT_EQ(listed(), (Paths{"", "data", "data/mounted", "data/mounted/sub", "data/mounted/sub/file"}));

    request.one_file_system = false;
    request.paths = {""};
    if (::mount("none", tree.path("data/proc").c_str(), "proc", 0, nullptr) != 0) {
      say_not_tested("kernel filesystems: this user may not mount proc");
      return;
    }
    EXPECT_EQ(listing().paths(), across.paths()) << "the kernel's own files are nothing to back up";
    request.paths = {"data/proc/sys/kernel"};
    EXPECT_NE(listing().find("data/proc/sys/kernel/ostype"), nullptr) << "a wanted path is read wherever it lies";
  });
}

TEST_P(WalkTest, ASinkThatThrowsLeavesNothingBehind) {
  for (int i = 0; i < 200; ++i) {
    const std::string folder = std::to_string(i);
    tree.folder(folder);
    for (int j = 0; j < 5; ++j) tree.folder(folder + "/" + std::to_string(j));
  }
  struct Cut : std::runtime_error {
    Cut() : std::runtime_error("connection lost") {}
  };
  class Throwing : public WalkSink {
   public:
    explicit Throwing(int after) : left_(after) {}
    void entry(std::string_view, const Stat&, bool) override {
      if (left_-- == 0) throw Cut();
    }
    void problem(const WalkProblem&) override {}

   private:
    int left_;
  };
  const auto count = [](const char* folder) {
    const std::unique_ptr<DIR, int (*)(DIR*)> opened(::opendir(folder), ::closedir);
    int names = 0;
    while (::readdir(opened.get()) != nullptr) ++names;
    return names;
  };
  const int descriptors = count("/proc/self/fd"), threads = count("/proc/self/task");
  for (int after = 0; after < 400; after += 7) {
    Throwing sink(after);
    EXPECT_THROW(walk(request, sink), Cut);
  }
  EXPECT_EQ(count("/proc/self/fd"), descriptors);
  // A thread that was joined may show for a moment longer.
  for (int i = 0; i < 100 && count("/proc/self/task") > threads; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_LE(count("/proc/self/task"), threads);
}

TEST_P(WalkTest, WithoutDescriptorsItFailsAloud) {
  (void)tree.chain("d", 3);
  EXPECT_EQ(listed().size(), 4U);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  std::vector<Fd> taken;
  rlimit few = before;
  few.rlim_cur = 64;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  for (Fd fd(::dup(tree.root())); fd; fd = Fd(::dup(tree.root()))) taken.push_back(std::move(fd));
  taken.pop_back();  // enough to look at the wanted path and to open it
  Listing result;
  std::optional<SystemError> thrown;
  try {
    walk(request, result);
  } catch (const SystemError& error) {
    thrown = error;
  }
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(thrown) << "no error, " << result.lines.size() << " entries";
  EXPECT_EQ(thrown->code(), EMFILE);
  EXPECT_EQ(thrown->status(), ExitStatus::io);
  EXPECT_NE(thrown->line().find("LimitNOFILE"), std::string::npos) << thrown->line();
}

TEST_P(WalkTest, ATreeThatChangesIsListedInOrderAndNeverFollowedOut) {
  const Tree outside;
  outside.folder("x");
  outside.file("x/secret");
  outside.file("secret");
  tree.link(outside.path(), "zz-link");
  for (int i = 0; i < 20; ++i) {
    const std::string folder = "f" + std::to_string(i);
    tree.folder(folder);
    tree.folder(folder + "/x");
    for (int j = 0; j < 40; ++j) tree.file(folder + "/x/" + std::to_string(j));
  }
  std::atomic<bool> stop = false;
  std::atomic<unsigned long> changes = 0;
  std::thread changer([&] {
    const int root = tree.root();
    for (unsigned i = 0; !stop; ++i) {
      const std::string folder = "f" + std::to_string(i % 20);
      const std::string x = folder + "/x";
      switch (i % 5) {
        case 0:  // to the link out of the tree and back
          ::renameat2(root, folder.c_str(), root, "zz-link", RENAME_EXCHANGE);
          ::renameat2(root, folder.c_str(), root, "zz-link", RENAME_EXCHANGE);
          break;
        case 1:
          ::renameat(root, x.c_str(), root, "moved");
          ::renameat(root, "moved", root, x.c_str());
          break;
        case 2: {
          const std::string name = x + "/new" + std::to_string(i % 64);
          if (::mkdirat(root, name.c_str(), 0755) != 0) ::unlinkat(root, name.c_str(), AT_REMOVEDIR);
          break;
        }
        case 3: {  // folder to file and back
          const std::string name = x + "/turn";
          if (::unlinkat(root, name.c_str(), AT_REMOVEDIR) == 0) {
            ::mknodat(root, name.c_str(), S_IFREG | 0600, 0);
          } else {
            ::unlinkat(root, name.c_str(), 0);
            ::mkdirat(root, name.c_str(), 0755);
          }
          break;
        }
        default: {
          const std::string from = x + "/" + std::to_string(i % 40), to = x + "/renamed" + std::to_string(i % 40);
          if (::renameat(root, from.c_str(), root, to.c_str()) != 0) ::renameat(root, to.c_str(), root, from.c_str());
        }
      }
      ++changes;
    }
  });
  unsigned walks = 0;
  for (const auto end = std::chrono::steady_clock::now() + 2s; std::chrono::steady_clock::now() < end; ++walks) {
    const Listing result = listing();
    for (const Listing::Line& line : result.lines) {
      EXPECT_NE(name_of(line.path), "secret") << "a link was followed: " << line.path;
    }
    for (const WalkProblem& problem : result.problems) ADD_FAILURE() << problem.path << ": " << problem.tried << " " << problem.code;
    if (HasFailure()) break;
  }
  stop = true;
  changer.join();
  EXPECT_GT(walks, 3U);
  EXPECT_GT(changes.load(), 1'000U) << "nothing changed, nothing was tested";
}

}  // namespace
}  // namespace syncropy

// Walks a folder as the agent does and prints entries and seconds, to compare with `find FOLDER -printf` on the same folder.
// Usage: walk-bench FOLDER [THREADS [ROUNDS]]

#include <fcntl.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "scan/walk.hpp"
#include "util/error.hpp"
#include "util/fd.hpp"

namespace {

class Counter : public syncropy::WalkSink {
 public:
  void entry(std::string_view, const syncropy::Stat&, bool) override { ++entries; }
  void problem(const syncropy::WalkProblem&) override { ++problems; }
  unsigned long entries = 0, problems = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: walk-bench FOLDER [THREADS [ROUNDS]]\n");
    return 2;
  }
  const syncropy::Fd root(::open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    std::perror(argv[1]);
    return 66;
  }
  syncropy::WalkRequest request;
  request.root = root.get();
  request.paths = {""};
  if (argc > 2) request.threads = static_cast<unsigned>(std::atoi(argv[2]));
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 1;
  for (int round = 0; round < rounds; ++round) {
    Counter counter;
    const auto start = std::chrono::steady_clock::now();
    try {
      syncropy::walk(request, counter);
    } catch (const syncropy::Error& error) {
      std::fprintf(stderr, "walk-bench: %s\n", error.line().c_str());
      return static_cast<int>(error.status());
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%lu entries, %lu problems, %.3f s\n", counter.entries, counter.problems, seconds.count());
  }
  return 0;
}

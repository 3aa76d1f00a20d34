// Every target with its corpus, and with so many mutations of it (SYNCROPY_FUZZ_MUTATIONS, each), the same ones each time. What ends the
// program is left in a file, for this program with that file as its argument (TARGET FILE) or for libFuzzer.

#include <gtest/gtest.h>
#include <sanitizer/common_interface_defs.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

#include "model/manifest.hpp"
#include "tests/fuzz/targets.hpp"

// Of libasan; gcc has it and not its header.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*, std::size_t), void (*freed)(const volatile void*));

namespace syncropy::fuzz {
namespace {

constexpr std::size_t most_bytes = 64U << 10;         // of an input
constexpr std::size_t largest_allocation = 48U << 20;  // what a reader may want at once for an input of that size

std::string_view current;
std::string_view current_target;

// Async-signal-safe: called when the program is dying.
void keep_current() {
  static bool kept = false;
  if (kept || current_target.empty()) return;
  kept = true;
  const int file = ::open("fuzz-failure", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || ::write(file, current.data(), current.size()) < 0) return;
  constexpr std::string_view said = "\nthe input is in ./fuzz-failure; the target is ";
  static_cast<void>(!::write(2, said.data(), said.size()));
  static_cast<void>(!::write(2, current_target.data(), current_target.size()));
  static_cast<void>(!::write(2, "\n", 1));
}

void look_at_allocation(const volatile void*, std::size_t size) {
  if (size > largest_allocation && !current_target.empty()) {
    keep_current();
    std::abort();
  }
}

void ignore(const volatile void*) {}

std::string slurp(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

void run(const Target& target, const std::string& input) {
  current = input;
  current_target = target.name;
  ::alarm(20);  // an input that takes longer has found something
  target.run(input);
  ::alarm(0);
  current_target = {};
}

class Mutator {
 public:
  Mutator(const std::vector<std::string>& corpus, std::string_view seed) : corpus_(corpus), chance_(path_hash(seed)) {}

  std::string next() {
    std::string input = corpus_[below(corpus_.size())];
    for (std::size_t count = 1 + below(4); count > 0; --count) mutate(input);
    if (input.size() > most_bytes) input.resize(most_bytes);
    return input;
  }

 private:
  std::size_t below(std::size_t bound) { return chance_() % bound; }

  void mutate(std::string& input) {
    static const std::string_view tokens[] = {
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x80\x80\x01", "\xff\xff\xff\x7f", std::string_view("\0\0\0\0", 4), "..", "/", "\n", "**",
        "*a*a*a*a*a*a", "[",
        "\\", "[[:", "&a ", "*a", "- ", ": ", "!!", "{", "}", "\"", "'", "\t", "\x1b[2J", "%", "|", ">", "~", "yes", "-1",
        "18446744073709551616", "9999-12-31T235959Z",
        "0000-00-00T000000Z", "credential:", "\x28\xb5\x2f\xfd"};
    const std::size_t at = input.empty() ? 0 : below(input.size());
    switch (below(10)) {
      case 0: if (!input.empty()) input[at] = static_cast<char>(input[at] ^ (1 << below(8))); break;
      case 1: if (!input.empty()) input[at] = static_cast<char>(below(256)); break;
      case 2: if (!input.empty()) input[at] = "\x00\x01\x7f\x80\xff\xfe\x10\x3f"[below(8)]; break;
      case 3: input.insert(at, std::string(1 + below(16), static_cast<char>(below(256)))); break;
      case 4: input.erase(at, 1 + below(16)); break;
      case 5: input.insert(at, tokens[below(std::size(tokens))]); break;
      case 6: input.insert(at, input.substr(at, 1 + below(200))); break;
      case 7: input.resize(at); break;
      case 8: {
        const std::string& other = corpus_[below(corpus_.size())];
        input = input.substr(0, at) + other.substr(other.empty() ? 0 : below(other.size()));
        break;
      }
      default:
        for (std::size_t count = 1 + below(40); count > 0 && input.size() < 4'000; --count) input.insert(at, input.substr(at, 1 + below(30)));
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937_64 chance_;
};

class Fuzz : public testing::TestWithParam<Target> {};

TEST_P(Fuzz, CorpusAndMutations) {
  std::vector<std::filesystem::path> files;
  for (const auto& file : std::filesystem::directory_iterator(std::filesystem::path(FUZZ_CORPUS) / GetParam().name)) files.push_back(file.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> corpus;
  for (const auto& file : files) corpus.push_back(slurp(file));
  ASSERT_GE(corpus.size(), 3U) << "the corpus of " << GetParam().name << " is not there";
  for (const std::string& input : corpus) run(GetParam(), input);
  const char* wanted = std::getenv("SYNCROPY_FUZZ_MUTATIONS");
  const unsigned long mutations = wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 2'000;
  Mutator mutator(corpus, GetParam().name);
  for (unsigned long number = 0; number < mutations; ++number) run(GetParam(), mutator.next());
  ASSERT_GT(mutations, 0U);
  std::cout << GetParam().name << ": " << corpus.size() << " of the corpus, " << mutations << " mutations\n";
}

std::string name_for_gtest(const testing::TestParamInfo<Target>& info) { return std::string(info.param.name); }

std::vector<Target> all_targets() {
  std::vector<Target> all;
  for (const auto& some : {config_targets(), model_targets(), wire_targets()}) all.insert(all.end(), some.begin(), some.end());
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, Fuzz, testing::ValuesIn(all_targets()), name_for_gtest);

}  // namespace
}  // namespace syncropy::fuzz

int main(int argc, char** argv) {
  using namespace syncropy::fuzz;
  testing::InitGoogleTest(&argc, argv);
  __sanitizer_set_death_callback(keep_current);
  __sanitizer_install_malloc_and_free_hooks(look_at_allocation, ignore);
  std::signal(SIGABRT, [](int) { keep_current(); });
  std::signal(SIGALRM, [](int) {
    keep_current();
    ::_exit(1);
  });
  if (argc == 3) {
    for (const Target& target : all_targets())
      if (target.name == argv[1]) run(target, slurp(argv[2]));
    return 0;
  }
  return RUN_ALL_TESTS();
}

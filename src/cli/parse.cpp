#include "cli/parse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

// CLI11's own words begin with a capital letter, unless with an option, and some have a line more.
std::string in_one_line(std::string text) {
  text.erase(std::min(text.find('\n'), text.size()));
  const bool is_word = text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])) != 0;
  if (is_word) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return escape(text);
}

}  // namespace

std::optional<int> parse_arguments(CLI::App& app, const char* program, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    const CLI::App* verb = &app;
    while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().front();
    const std::vector<std::string> rest = app.remaining(true);
    const bool lacks_verb = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && verb->get_require_subcommand_min() > 0;
    std::string what = in_one_line(error.what());
    if (lacks_verb) what = rest.empty() ? "no verb is named" : "there is no verb '" + escape(rest.front()) + "'";
    std::string name;
    for (const CLI::App* at = verb; at != &app; at = at->get_parent()) name = " " + at->get_name() + name;
    fmt::print(stderr, "{}: error: {}: '{}{} --help' shows what there is\n", program, what, program, name);
    return static_cast<int>(ExitStatus::usage);
  }
}

}  // namespace syncropy

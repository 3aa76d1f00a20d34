// A reader of our own: inih, as Debian builds it, tells its callback no line numbers (INI_HANDLER_LINENO is 0), and its rules for
// comments and continuation lines are not those of Python's configparser, which classic files were written for.

#include <unordered_map>

#include "config/document.hpp"
#include "config/text.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) { top_.kind = ConfigNode::Kind::map; }

  void line(std::string_view raw) {
    ++line_;
    const std::string_view text = strip(raw);
    if (raw.find('\0') != std::string_view::npos) throw config_error(file_, line_, "there is a NUL byte in this line", "remove it");
    if (text.empty() || text[0] == '#' || text[0] == ';') return;
    const std::size_t indent = raw.find_first_not_of(blanks);
    if (value_ != nullptr && indent > indent_) return go_on(text);
    indent_ = indent;
    if (text[0] == '[') return section(text);
    key(text);
  }
  [[nodiscard]] ConfigNode take() { return std::move(top_); }

 private:
  void go_on(std::string_view text) {
    if (!value_->text.empty()) value_->text += '\n';
    value_->text += text;
    value_->kind = ConfigNode::Kind::text;
  }

  void section(std::string_view text) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos || end == 1) throw config_error(file_, line_, "'" + escape(text) + "' is not the head of a section", "write '[name]'");
    std::string name(text.substr(1, end - 1));
    if (const auto [known, is_new] = sections_.try_emplace(name, line_); !is_new)
      throw config_error(file_, line_, "section [" + escape(name) + "] stands here for the second time; the first is in line " + std::to_string(known->second), "put both together");
    ConfigNode body;
    body.kind = ConfigNode::Kind::map;
    body.line = line_;
    top_.entries.push_back({std::move(name), line_, std::move(body)});
    value_ = nullptr;
  }

  void key(std::string_view text) {
    if (top_.entries.empty()) throw config_error(file_, line_, "a line stands before the first section", "put '[general]' above it");
    const std::size_t delimiter = text.find_first_of("=:");
    if (delimiter == std::string_view::npos || strip(text.substr(0, delimiter)).empty())
      throw config_error(file_, line_, "'" + escape(text) + "' is neither '[section]' nor 'key = value'", "write it as one of them, or begin the line with # to make it a comment");
    std::string name = lower(strip(text.substr(0, delimiter)));
    ConfigNode& section = top_.entries.back().value;
    for (const ConfigNode::Entry& entry : section.entries)
      if (entry.key == name)
        throw config_error(file_, line_, "'" + escape(name) + "' stands here for the second time; the first is in line " + std::to_string(entry.line), "remove one of the two");
    if (section.entries.size() >= most_keys) throw config_error(file_, line_, "section [" + escape(top_.entries.back().key) + "] has too many keys", "remove what does not belong there");
    ConfigNode value;
    value.line = line_;
    value.text = strip(text.substr(delimiter + 1));
    value.kind = value.text.empty() ? ConfigNode::Kind::empty : ConfigNode::Kind::text;
    section.entries.push_back({std::move(name), line_, std::move(value)});
    value_ = &section.entries.back().value;
  }

  static constexpr std::size_t most_keys = 1'000;  // all that are known are two dozen
  const std::string& file_;
  ConfigNode top_;
  std::unordered_map<std::string, int> sections_;
  ConfigNode* value_ = nullptr;  // the one that a deeper line continues
  std::size_t indent_ = 0;
  int line_ = 0;
};

}  // namespace

ConfigNode parse_ini(std::string_view text, const std::string& file) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  Reader reader(file);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    reader.line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return reader.take();
}

}  // namespace syncropy

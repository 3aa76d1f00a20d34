#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <unordered_map>

#include "config/document.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

// Builds nodes from events instead of YAML::Load: so lines stay known, duplicate keys are seen, and no alias is ever expanded.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(const std::string& file) : file_(file) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { put(node(ConfigNode::Kind::empty, mark)); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse(mark, "aliases (*name) are not supported", "write the value out"); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    check_tag(mark, tag);
    if (value.find('\0') != std::string::npos) refuse(mark, "a value has a NUL byte in it", "remove it");
    ConfigNode text = node(ConfigNode::Kind::text, mark);
    text.text = value;
    put(std::move(text));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override { open(ConfigNode::Kind::list, mark, tag); }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override { open(ConfigNode::Kind::map, mark, tag); }
  void OnMapEnd() override { close(); }

  ConfigNode top;

 private:
  struct Level {
    ConfigNode node;
    bool has_key = false;
    std::string key{};
    int key_line = 0;
    std::unordered_map<std::string, int> seen{};
  };

  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& what, std::string remedy) const { throw config_error(file_, mark.line + 1, what, std::move(remedy)); }
  static ConfigNode node(ConfigNode::Kind kind, const YAML::Mark& mark) {
    ConfigNode made;
    made.kind = kind;
    made.line = mark.line + 1;
    return made;
  }
  void check_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags (" + escape(tag) + ") are not supported", "remove it");
  }
  void open(ConfigNode::Kind kind, const YAML::Mark& mark, const std::string& tag) {
    check_tag(mark, tag);
    if (levels_.size() >= limits::config_depth) refuse(mark, "nested deeper than " + std::to_string(limits::config_depth) + " levels", "compare with syncropy.yaml(5)");
    if (!levels_.empty() && levels_.back().node.kind == ConfigNode::Kind::map && !levels_.back().has_key) refuse(mark, "a key is not plain text", "compare with syncropy.yaml(5)");
    levels_.push_back({node(kind, mark)});
  }
  void close() {
    ConfigNode done = std::move(levels_.back().node);
    levels_.pop_back();
    put(std::move(done));
  }
  void put(ConfigNode value) {
    if (levels_.empty()) {
      top = std::move(value);
      return;
    }
    Level& level = levels_.back();
    if (level.node.kind == ConfigNode::Kind::list) {
      level.node.items.push_back(std::move(value));
    } else if (!level.has_key) {
      take_key(level, std::move(value));
    } else {
      level.node.entries.push_back({std::move(level.key), level.key_line, std::move(value)});
      level.has_key = false;
    }
  }
  void take_key(Level& level, ConfigNode key) {
    if (key.kind != ConfigNode::Kind::text) throw config_error(file_, key.line, "a key is empty", "write 'key: value'");
    if (const auto [known, is_new] = level.seen.try_emplace(key.text, key.line); !is_new)
      throw config_error(file_, key.line, "'" + escape(key.text) + "' stands here for the second time; the first is in line " + std::to_string(known->second), "remove one of the two");
    level.has_key = true;
    level.key = std::move(key.text);
    level.key_line = key.line;
  }

  const std::string& file_;
  std::vector<Level> levels_;
};

}  // namespace

ConfigNode parse_yaml(std::string_view text, const std::string& file) {
  std::istringstream in{std::string(text)};
  Builder builder(file);
  try {
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder) || builder.top.kind == ConfigNode::Kind::empty) throw config_error(file, 1, "there is nothing in this file", "write it as syncropy.yaml(5) describes");
    if (builder.top.kind != ConfigNode::Kind::map) throw config_error(file, builder.top.line, "this is not a list of keys and values", "write it as syncropy.yaml(5) describes");
    Builder second(file);
    if (parser.HandleNextDocument(second)) throw config_error(file, second.top.line, "a second YAML document begins here", "put everything into the first one, and remove the line '---'");
  } catch (const YAML::Exception& error) {
    throw config_error(file, error.mark.is_null() ? 1 : error.mark.line + 1, "this is not valid YAML (" + escape(error.msg) + ")",
                       "indent with blanks, never tabs, and put quotes around values with ': ', ' #' or a special character at their beginning");
  }
  return std::move(builder.top);
}

}  // namespace syncropy

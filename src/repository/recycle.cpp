#include "repository/recycle.hpp"

#include <optional>
#include <string>
#include <vector>

#include "repository/tree.hpp"

namespace syncropy {
namespace {

struct TooDifferent {};

class Recycling {
 public:
  Recycling(const Staging& staging, const Fd& is_tree, std::uint64_t entries)
      : builder_(staging.tree, is_tree, staging.removed), most_(entries / 2) {}

  void gone(const Entry& was) {
    if (!has_stored_name(was) || is_removed(was.path)) return;
    work();
    touch(parent_of(was.path));
    remove(was);
  }

  void added(const Entry& is) {
    if (!has_stored_name(is)) return;
    work();
    touch(parent_of(is.path));
    add(is);
  }

  void changed(const Entry& was, const Entry& is) {
    if (was.stat.type == FileType::folder && is.stat.type == FileType::folder) {
      builder_.check_folder(was);  // its time tells nothing once it is set
      if (was.stat.mtime != is.stat.mtime) touch_as(is);
      return;
    }
    if (!has_stored_name(was) && !has_stored_name(is)) return;
    // Attributes alone may have changed, and then nothing is stored anew.
    if (has_stored_name(was) && has_stored_name(is) && was.stat.type == is.stat.type && builder_.shares_previous(is.path)) return;
    work();
    touch(parent_of(is.path));
    if (has_stored_name(was)) remove(was);
    if (has_stored_name(is)) add(is);
  }

  void finish() {
    while (!touched_.empty()) leave();
  }

 private:
  // A folder on the way to the present path in which names were changed, and the time that it gets back when that is over.
  struct Touched {
    std::string path;
    Timestamp mtime;
  };

  // After chown -R every entry differs, and nothing of it is done anew.
  void work() {
    if (++done_ > most_) throw TooDifferent{};
  }

  bool is_removed(std::string_view path) const { return removed_ && is_below(path, *removed_); }

  void remove(const Entry& was) {
    builder_.remove_stored(was);
    if (was.stat.type == FileType::folder) removed_ = was.path;
  }

  void add(const Entry& is) {
    if (is.stat.type == FileType::folder) {
      builder_.make_folder(is.path);
      return touch_as(is);
    }
    LinkResult result = builder_.link_previous(is);
    if (result == LinkResult::copy_needed) result = builder_.copy_previous(is);
    if (result != LinkResult::linked) throw TooDifferent{};
  }

  // Changes come in the manifest's order: once one is outside a folder, that folder is done with.
  void leave_until(std::string_view path) {
    while (!touched_.empty() && touched_.back().path != path && !is_below(path, touched_.back().path)) leave();
  }
  void leave() {
    builder_.set_folder_time(touched_.back().path, touched_.back().mtime);
    touched_.pop_back();
  }
  void touch(std::string_view path) {
    leave_until(path);
    if (touched_.empty() || touched_.back().path != path) touched_.push_back({std::string(path), builder_.folder_time(path)});
  }
  void touch_as(const Entry& is) {
    leave_until(is.path);
    if (touched_.empty() || touched_.back().path != is.path) touched_.push_back({is.path, is.stat.mtime});
    else touched_.back().mtime = is.stat.mtime;
  }

  TreeBuilder builder_;
  const std::uint64_t most_;
  std::uint64_t done_ = 0;
  std::optional<std::string> removed_;  // the folder that was removed last, with all that was in it
  std::vector<Touched> touched_;
};

}  // namespace

RecycleResult recycle_tree(const Staging& staging, ManifestReader& was, ManifestReader& is, const Fd& is_tree) {
  Recycling recycling(staging, is_tree, is.index().info.entries);
  try {
    compare_manifests(was, is,
                      {[&](const Entry& entry) { recycling.gone(entry); },
                       [&](const Entry& before, const Entry& after) { recycling.changed(before, after); },
                       [&](const Entry& entry) { recycling.added(entry); }});
    recycling.finish();
  } catch (const TooDifferent&) {
    return RecycleResult::too_different;
  }
  return RecycleResult::recycled;
}

}  // namespace syncropy

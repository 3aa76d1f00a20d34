#pragma once
// One entry at a time, given back to a filesystem beneath a held folder: compared, written aside, attributed by descriptor, renamed into
// place. No symbolic link in the target is ever followed, and nothing outside the held folder is opened.

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/entry.hpp"
#include "model/restore.hpp"
#include "restore/accounts.hpp"
#include "restore/aside.hpp"
#include "restore/attributes.hpp"
#include "scan/details.hpp"
#include "util/fd.hpp"
#include "util/folder.hpp"

namespace syncropy {

// What is at an entry's place.
struct Found {
  enum class State {
    absent,
    same,        // type, content, attributes, and hard link where one was asked for
    attributes,  // the content is right
    different,   // another content, type, target or device, or another inode than the leader's
    blocked,     // it cannot be told, or cannot be restored: `shortfall`
  };
  State state = State::absent;
  std::optional<Stat> stat;   // of what is there
  Shortfall shortfall;
};

// Not thread-safe: one a thread. `root` and `rules` outlive it. Methods throw only for what ends the whole restore (the disk is full:
// ExitStatus::io); everything else becomes a shortfall.
class Placer {
 public:
  Placer(const Fd& root, const RestoreRules& rules);
  // Folders that were opened up and not finished get the mode back that they had.
  ~Placer();
  Placer(const Placer&) = delete;
  Placer& operator=(const Placer&) = delete;

  // Compares without touching anything. `leader`: the path of the name that this one must be a hard link to; empty where there is none.
  // Regular files of the right size are read and compared by digest. A file that others hold by further names outside the restore
  // (links above the entry's) is never `same` or `attributes` but `different`: its inode is not to be modified.
  [[nodiscard]] Found examine(const Entry& entry, std::string_view leader = {});

  // Of what follows, each replaces what is there where `over` is true, and fails with EEXIST otherwise. A folder with something in it is
  // replaced only with RestoreRules::remove_others. Nothing is visible at the entry's path before it is whole.

  // Regular file: begin, then Aside::write, then finish, which checks size and digest ("content" with EBADMSG where they differ: nothing is
  // placed), sets the attributes and renames.
  [[nodiscard]] std::optional<Aside> begin(const Entry& entry, RestoreOutcome& outcome);  // none: outcome says why
  [[nodiscard]] RestoreOutcome finish(Aside aside, const Entry& entry, bool over);
  // Symbolic link, device, FIFO, socket.
  [[nodiscard]] RestoreOutcome place_special(const Entry& entry, bool over);
  // Another name of the file at `leader`. Where the filesystem cannot (EMLINK, EXDEV, EPERM), a copy, with shortfall "hard link".
  [[nodiscard]] RestoreOutcome place_link(const Entry& entry, std::string_view leader, bool over);
  // What examine() found `attributes` about.
  [[nodiscard]] RestoreOutcome adjust(const Entry& entry);
  // A folder that can be entered and written by us until finish_folder(): made, or the one that is there. What is no folder and in its
  // place is replaced where `over` is true.
  [[nodiscard]] RestoreOutcome open_folder(const Entry& entry, bool over);
  // All attributes of a folder, its time last; deepest folders first. Outcome adjusted, or same where nothing had to be set.
  [[nodiscard]] RestoreOutcome finish_folder(const Entry& entry);

  // Names in folder `path` that `keeps` does not hold, sorted; without what one of `keeps` may just be being written aside under.
  [[nodiscard]] std::vector<std::string> others_in(std::string_view path, const std::vector<std::string>& keeps);
  // Removes `path` with everything below, never following a link, never crossing a mount. True when nothing of it is left.
  [[nodiscard]] bool remove(std::string_view path, Shortfall& shortfall);

 private:
  // The folder that was used last: placing many files in one costs nothing more than the files.
  struct Held {
    std::string path;
    std::shared_ptr<const Fd> fd;              // O_PATH where the folder cannot be read
    bool by_path = false;
    std::optional<bool> inherits_acl;          // whether new entries may inherit an ACL
  };
  // A folder that was opened up.
  struct Opened {
    std::string path;
    std::uint64_t filesystem, inode;
    mode_t mode;
  };
  // What examine() found `attributes` about.
  struct Examined {
    std::string path;
    Fd fd;
    bool by_path = false;
    Stat stat;
    Details details;
  };
  enum class Compared { same, different, unreadable };

  [[nodiscard]] Held* hold(std::string_view path);  // nullptr and errno
  [[nodiscard]] Held* hold_parent(const Entry& entry, RestoreOutcome& outcome);
  void forget(std::string_view path);
  [[nodiscard]] bool inherits_acl(Held& held);
  [[nodiscard]] Compared compare_content(int fd, const Entry& entry, int& code);
  [[nodiscard]] std::optional<Details> details_of(int fd, bool by_path, const Stat& stat);
  [[nodiscard]] AttributeChanges changes_to_new(const Attributes& wanted, int fd, bool may_have_acl) const;
  [[nodiscard]] int make_special(int folder, const Entry& entry, const std::string& temporary, Fd& fd) const;
  [[nodiscard]] int clear_name(int folder, const std::string& name, std::string_view path);
  // Renames: 0 or an errno.
  [[nodiscard]] int into_place(int folder, const std::string& from, const std::string& to, std::string_view path, bool over, RestoreResult& result);
  void copy_into(Aside& aside, int from, std::uint64_t size);
  [[nodiscard]] int open_up(const Fd& folder, std::string_view path);

  const Fd& root_;
  const RestoreRules& rules_;
  FolderCursor folders_;
  AccountNames names_;
  Accounts accounts_;
  uid_t uid_;
  std::optional<Held> held_;
  std::optional<Examined> examined_;
  std::vector<Opened> opened_;
  std::string buffer_;
};

}  // namespace syncropy

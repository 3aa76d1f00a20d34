#pragma once
// An embedded catalog is written without waiting for the disk page by page: that took 14 of the 16 seconds of a recording of 200,000 entries on a
// busy disk, and more on one that turns. Firebird's own order of writes keeps it whole when a process is killed, for the pages are in
// the kernel's cache; a machine that stops may leave any of them. So a mark beside the database says that something is not on the disk, and of
// which boot that is; where it is of an earlier one, the catalog is not believed, and made again from the manifests.
// The definition of tables is not undone as rows are: an upgrade of the schema that was killed leaves half of one. So the mark says meanwhile that
// the catalog is not believed, whatever the boot.

#include <string>

#include "util/fd.hpp"

namespace syncropy {

// The file DATABASE.unsynced: empty, or the id of the boot in which the database was written and not synced since, or "upgrading".
class CrashGuard {
 public:
  // True where the database was being written when the machine stopped, or upgraded when the program did. `boot`: as boot_id() tells; where that is
  // unknown ("") nothing is said of the former. While a database is upgraded its opening is locked: the caller holds lock_opening().
  [[nodiscard]] static bool is_unsafe(const std::string& database, const std::string& boot);

  // Another database was put in its place, synced: what a mark of an earlier boot says is over. The caller holds lock_opening() alone.
  static void forgive(const std::string& database, const std::string& boot);

  // For who is going to write, held until after that. Removes a database that is unsafe, with `was_unsafe()` from then on; notes this boot, durably.
  // The caller holds lock_opening() alone. Error repository or io where the mark cannot be written.
  CrashGuard(std::string database, std::string boot);
  // Syncs the database; the last of several that are held takes the mark away. Where that fails the mark stays.
  ~CrashGuard();
  CrashGuard(const CrashGuard&) = delete;
  CrashGuard& operator=(const CrashGuard&) = delete;
  [[nodiscard]] bool was_unsafe() const { return was_unsafe_; }

  // Around an upgrade of the schema, both durable: one that did not end, for whatever reason, leaves a database that is unsafe. Error io or repository
  // where the mark cannot be written. The caller holds lock_opening() alone.
  void begin_upgrade();
  void end_upgrade();

 private:
  void note(const std::string& content);

  std::string database_, boot_;
  Fd mark_;
  bool was_unsafe_ = false;
};

// 32 hexadecimal digits: $SYNCROPY_BOOT_ID, which units set (%b, for their /proc has no sys/), or what the kernel says; "" where neither is there.
[[nodiscard]] std::string boot_id();

}  // namespace syncropy

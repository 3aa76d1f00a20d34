#include "server/restore.hpp"

#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "model/limits.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "wire/messages.hpp"
#include "wire/reject.hpp"
#include "wire/restore-messages.hpp"

namespace syncropy {
namespace {

constexpr unsigned entries_in_message = 256;

// What the worker has said and nobody has looked at yet. Its own, for a frame may come while the restore ends.
class Mailbox {
 public:
  void put(Frame&& frame) {
    const std::lock_guard lock(mutex_);
    bytes_ += frame.payload.size() + sizeof frame;
    if (bytes_ > most_bytes) reject_client("says more than a restore can have to tell");
    frames_.push_back(std::move(frame));
    changed_.notify_one();
  }
  void fail() {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    changed_.notify_one();
  }
  // The next frame; none when the session failed, or when there is none now and `wait` is false.
  [[nodiscard]] std::optional<Frame> take(bool wait) {
    std::unique_lock lock(mutex_);
    if (wait) changed_.wait(lock, [this] { return failed_ || !frames_.empty(); });
    if (frames_.empty()) return std::nullopt;
    Frame frame = std::move(frames_.front());
    frames_.pop_front();
    bytes_ -= frame.payload.size() + sizeof frame;
    return frame;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  // Half a million removals while a large file is being sent; outcomes and wants are bounded by the window.
  static constexpr std::size_t most_bytes = 64U << 20;

  std::deque<Frame> frames_;
  std::size_t bytes_ = 0;
  bool failed_ = false;
};

// One pass over the chosen entries.
class RestorePass {
 public:
  RestorePass(AgentSession& worker, Mailbox& mailbox, DatasetSource& source, const RestoreRules& rules, const Selection& selection,
              RestoreProgress& progress, const RestoreEvents& events)
      : worker_(worker), mailbox_(mailbox), source_(source), rules_(rules), selection_(selection), progress_(progress), events_(events) {}

  // Whether the target is empty.
  [[nodiscard]] bool begin() {
    worker_.send(MessageType::restore, rules_);
    const Frame frame = next_frame();
    if (frame.type != MessageType::ready) reject_client("did not answer the rules of the restore");
    return get_restore_ready(frame.payload).target_is_empty;
  }

  // Nothing is to be compared.
  void abandon() {
    worker_.send_payload(MessageType::finish, {});
    while (!is_finished_) take_frames(true);
  }

  RestoreCounts run() {
    SelectedEntries entries(source_, selection_);
    for (bool more = true; more || in_flight_ > 0;) {
      bool busy = send_contents();
      if (more && in_flight_ + entries_in_message <= limits::place_window && wanted_.size() < entries_in_message) {
        more = send_entries(entries);
        busy = true;
      }
      busy = take_frames(false) || busy;
      if (!busy) {
        worker_.flush();
        take_frames(true);
      }
    }
    worker_.queue(MessageType::finish, {});
    worker_.flush();
    while (!is_finished_) take_frames(true);
    if (!sent_.empty()) reject_client("finished without an outcome for " + std::to_string(sent_.size()) + " entries");
    return counts_;
  }

 private:
  struct Sent {
    Entry entry;          // of what content may be asked for; else path and type alone
    bool on_the_way;
    bool asked = false;
  };

  Frame next_frame() {
    std::optional<Frame> frame = mailbox_.take(true);
    if (!frame) {
      worker_.check();
      throw Error(ExitStatus::protocol, worker_.where() + ": the connection failed", "run the restore again: it does the rest");
    }
    return std::move(*frame);
  }

  // One message's worth; false when these were the last.
  bool send_entries(SelectedEntries& entries) {
    ByteWriter message;
    std::string previous;
    bool more = true;
    for (unsigned count = 0; count < entries_in_message && message.size() < limits::place_bytes; ++count) {
      ChosenEntry chosen;
      more = entries.next(chosen);
      if (!more) break;
      Entry& entry = chosen.entry;
      if ((entry.flags & unread) || (entry.stat.type == FileType::regular && !entry.digest)) {
        // A folder that could not be read is there for what was read of it.
        if (entry.stat.type != FileType::folder) {
          settle(entry, {RestoreResult::failed, {{"content, for it was not backed up", ENODATA}}});
          continue;
        }
      }
      ByteWriter one;
      put(one, next_id_, chosen.on_the_way, entry, previous);
      if (message.size() + one.size() > limits::frame_bytes / 2) {
        if (one.size() > limits::frame_bytes / 2) {
          settle(entry, {RestoreResult::failed, {{"attributes", E2BIG}}});
          continue;
        }
      }
      message.put_raw(one.view());
      previous = entry.path;
      const bool is_folder = entry.stat.type == FileType::folder;
      if (!is_folder) ++in_flight_;
      Sent sent{{}, chosen.on_the_way};
      if (entry.stat.type == FileType::regular && !rules_.dry_run) {
        sent.entry = std::move(entry);
      } else {
        sent.entry.path = std::move(entry.path);
        sent.entry.stat.type = entry.stat.type;
      }
      sent_.emplace(next_id_++, std::move(sent));
    }
    if (message.size() > 0) {
      worker_.queue(MessageType::place, message.view());
      worker_.flush();
    }
    return more;
  }

  bool send_contents() {
    bool any = false;
    // A few at a time: between them the worker's answers are looked at.
    for (unsigned count = 0; count < 64 && !wanted_.empty(); ++count, wanted_.pop_front()) {
      any = true;
      send_content(wanted_.front());
    }
    return any;
  }

  void send_content(std::uint32_t id) {
    const Entry& entry = sent_.at(id).entry;
    ContentEnd end{id, 0};
    int code = 0;
    if (const Fd file = source_.open_content(entry, code)) {
      end.code = static_cast<std::uint32_t>(send_bytes(file.get(), id, entry));
    } else {
      end.code = static_cast<std::uint32_t>(code);
    }
    ByteWriter message;
    put(message, end);
    worker_.queue(MessageType::content_end, message.view());
  }

  // 0, or the errno for which the stored file cannot be read.
  int send_bytes(int file, std::uint32_t id, const Entry& entry) {
    std::vector<Extent> extents = entry.details.extents;
    if (!entry.details.sparse) extents = {{0, entry.stat.size}};
    for (const Extent& extent : extents) {
      for (std::uint64_t at = extent.offset; at < extent.offset + extent.length;) {
        buffer_.resize(std::min<std::uint64_t>(limits::data_bytes, extent.offset + extent.length - at));
        const ssize_t got = ::pread(file, buffer_.data(), buffer_.size(), static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0 ? errno : EBADMSG;
        ByteWriter head;
        put_data_head(head, id, at);
        worker_.queue(MessageType::content, head.view(), std::string_view(buffer_).substr(0, static_cast<std::size_t>(got)));
        at += static_cast<std::uint64_t>(got);
        progress_.bytes += static_cast<std::uint64_t>(got);
        counts_.bytes += static_cast<std::uint64_t>(got);
      }
    }
    return 0;
  }

  // What there is; with `wait`, at least one. True when there was any.
  bool take_frames(bool wait) {
    bool any = false;
    if (wait) {
      handle(next_frame());
      any = true;
    }
    while (std::optional<Frame> frame = mailbox_.take(false)) {
      handle(*frame);
      any = true;
    }
    worker_.check();
    return any;
  }

  void handle(const Frame& frame) {
    if (is_finished_) reject_client("said more after it had finished");
    switch (frame.type) {
      case MessageType::want: {
        for (std::uint32_t id : get_wants(frame.payload)) {
          const auto found = sent_.find(id);
          if (found == sent_.end() || found->second.entry.stat.type != FileType::regular || found->second.asked || rules_.dry_run)
            reject_client("wants content of what it was not sent, or wants it twice");
          found->second.asked = true;
          wanted_.push_back(id);
        }
        return;
      }
      case MessageType::outcome: {
        ByteReader in(frame.payload, ExitStatus::protocol, "outcomes");
        while (!in.at_end()) {
          const EntryOutcome message = get_entry_outcome(in);
          const auto found = sent_.find(message.id);
          if (found == sent_.end()) reject_client("has an outcome for what it was not sent");
          if (found->second.entry.stat.type != FileType::folder) --in_flight_;
          const Sent sent = std::move(found->second);
          sent_.erase(found);
          if (!sent.on_the_way || message.outcome.result != RestoreResult::same) settle(sent.entry, message.outcome);
        }
        return;
      }
      case MessageType::removed: {
        const Removed removed = get_removed(frame.payload);
        ++(removed.code == 0 ? counts_.removed : counts_.not_removed);
        if (events_.on_removed) events_.on_removed(removed.path, removed.code);
        return;
      }
      case MessageType::finished: is_finished_ = true; return;
      default: reject_client("sent a message that has no place in a restore");
    }
  }

  void settle(const Entry& entry, const RestoreOutcome& outcome) {
    ++progress_.entries;
    switch (outcome.result) {
      case RestoreResult::created: ++counts_.created; break;
      case RestoreResult::replaced: ++counts_.replaced; break;
      case RestoreResult::adjusted: ++counts_.adjusted; break;
      case RestoreResult::same: ++counts_.same; break;
      case RestoreResult::kept: ++counts_.kept; break;
      case RestoreResult::conflict: ++counts_.conflicts; break;
      case RestoreResult::failed:
        ++counts_.failed;
        if (!outcome.shortfalls.empty() && outcome.shortfalls.front().what.starts_with("content")) ++counts_.damaged;
        break;
    }
    if (outcome.result != RestoreResult::failed && !outcome.shortfalls.empty()) ++counts_.incomplete;
    if (events_.on_entry) events_.on_entry(entry.path, entry.stat.type, outcome);
  }

  AgentSession& worker_;
  Mailbox& mailbox_;
  DatasetSource& source_;
  const RestoreRules& rules_;
  const Selection& selection_;
  RestoreProgress& progress_;
  const RestoreEvents& events_;
  RestoreCounts counts_;
  std::unordered_map<std::uint32_t, Sent> sent_;  // without an outcome
  std::deque<std::uint32_t> wanted_;
  std::uint32_t next_id_ = 1;
  std::size_t in_flight_ = 0;                     // among sent_: what is no folder
  bool is_finished_ = false;
  std::string buffer_;
};

}  // namespace

RestoreCounts restore(AgentSession& worker, DatasetSource& source, const RestoreRules& wanted, const Selection& selection, RestoreProgress& progress,
                      const RestoreEvents& events) {
  const auto mailbox = std::make_shared<Mailbox>();
  worker.receive([mailbox](Frame&& frame) { mailbox->put(std::move(frame)); }, [mailbox] { mailbox->fail(); });
  // What the backup never looked at is not to go because the backup does not have it.
  RestoreRules rules = wanted;
  if (rules.remove_others) {
    rules.whole = source.info().paths;
    rules.excludes.insert(rules.excludes.end(), source.info().excludes.begin(), source.info().excludes.end());
  }
  try {
    RestoreEvents conflicts_only;
    conflicts_only.on_entry = [&](const std::string& path, FileType type, const RestoreOutcome& outcome) {
      if (outcome.result == RestoreResult::conflict && events.on_entry) events.on_entry(path, type, outcome);
    };
    RestoreRules comparing = rules;
    comparing.dry_run = true;
    if (rules.existing == Existing::fail && !rules.dry_run) {
      RestorePass comparison(worker, *mailbox, source, comparing, selection, progress, conflicts_only);
      const bool is_empty = comparison.begin();
      if (is_empty) {
        comparison.abandon();
      } else {
        RestoreCounts counts = comparison.run();
        if (counts.conflicts > 0) {
          worker.stop_receiving();
          return counts;
        }
        progress.entries = 0;
      }
    }
    progress.stage = rules.dry_run ? "comparing" : "restoring";
    RestorePass pass(worker, *mailbox, source, rules, selection, progress, events);
    static_cast<void>(pass.begin());
    const RestoreCounts counts = pass.run();
    worker.stop_receiving();
    return counts;
  } catch (const Error& error) {
    worker.stop_receiving();
    worker.check();  // where the session failed first, its error says why
    if (error.status() == ExitStatus::protocol) throw worker.blame(error);
    throw;
  }
}

}  // namespace syncropy

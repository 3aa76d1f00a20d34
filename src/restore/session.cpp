#include "restore/session.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <mutex>
#include <optional>

#include "model/entry.hpp"
#include "restore/round.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/file.hpp"
#include "util/folder.hpp"
#include "wire/frame.hpp"
#include "wire/greeting.hpp"
#include "wire/reject.hpp"
#include "wire/restore-messages.hpp"

namespace syncropy {
namespace {

std::string relative(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
}

std::string below(const std::string& path, const std::string& folder) { return relative(std::string_view(path).substr(std::min(path.size(), folder.size()))); }

class RestoreSession {
 public:
  RestoreSession(ByteStream& stream, const RestoreAccess& access, const Fd& root) : stream_(stream), access_(access), root_(root), in_(stream), out_(stream) {}

  void serve() {
    try {
      Frame frame;
      const bool greeted = answer_greeting(in_, out_, "syncropy-agent");
      while (greeted && in_.next(frame) && frame.type != MessageType::bye) handle(std::move(frame));
    } catch (...) {
      note(std::current_exception());
    }
    round_.reset();
    if (failure_) std::rethrow_exception(failure_);
    stream_.finish();
  }

 private:
  void handle(Frame&& frame) {
    if (frame.type == MessageType::restore) return begin(get_restore_rules(frame.payload));
    if (frame.type == MessageType::list || frame.type == MessageType::run)
      end_session(in_, out_, Error(ExitStatus::refused, "this agent restores and serves no backups", "name the port of syncropy-agent.socket as 'port' in the server's config"));
    if (!round_) reject_server("sent a message of a restore that it did not begin");
    try {
      switch (frame.type) {
        case MessageType::place: return round_->place(frame.payload);
        case MessageType::content: return round_->content(std::move(frame));
        case MessageType::content_end: return round_->content_end(frame.payload);
        case MessageType::finish:
          round_->finish();
          return round_.reset();
        default: reject_server("sent a message that has no place in a restore");
      }
    } catch (const Error& error) {
      if (error.status() == ExitStatus::protocol) throw;
      end_session(in_, out_, told(error));
    }
  }

  // What ends a restore is nearly always the disk, and a restore is not a backup.
  static Error told(const Error& error) {
    if (error.status() != ExitStatus::io) return error;
    return Error(error.status(), error.what(), "free space or mend the disk, then run the same restore again: it does the rest");
  }

  void begin(RestoreRules rules) {
    if (round_) reject_server("began a restore within another");
    RestoreReady ready;
    try {
      RestoreBounds bounds = bounds_at(rules.target);
      Fd target = open_target(rules);
      const bool exists = static_cast<bool>(target);
      ready.target_is_empty = !exists || names_in(target.get()).empty();
      if (!exists) target = root_.duplicate();
      round_.emplace(std::move(target), exists, std::move(rules), std::move(bounds), out_, [this](std::exception_ptr failure) { give_up(std::move(failure)); });
    } catch (const Error& error) {
      end_session(in_, out_, error);
    }
    ByteWriter message;
    put(message, ready);
    out_.send(MessageType::ready, message.view());
    out_.flush();
  }

  RestoreBounds bounds_at(const std::string& target) const {
    RestoreBounds bounds{{}, {}};
    for (const std::string& folder : access_.folders) {
      const std::string allowed = relative(folder);
      if (is_at_or_below(target, allowed)) bounds.allowed.emplace_back();
      else if (is_at_or_below(allowed, target)) bounds.allowed.push_back(below(allowed, target));
    }
    if (bounds.allowed.empty())
      throw Error(ExitStatus::refused, "the agent's policy lets nothing be restored into /" + escape(target), "add it to 'restore_to' in the agent's policy");
    for (const std::string& folder : access_.denied) {
      const std::string denied = relative(folder);
      if (is_at_or_below(target, denied))
        throw Error(ExitStatus::refused, "the agent's policy denies /" + escape(denied), "take it from 'deny' in the agent's policy, or name another target");
      if (is_at_or_below(denied, target)) bounds.denied.push_back(below(denied, target));
    }
    return bounds;
  }

  // Made where it is missing; in a dry run, that is an empty descriptor. One restore at a time in one target.
  Fd open_target(const RestoreRules& rules) const {
    constexpr const char* remedy = "name a folder by its real path, without a symbolic link in it";
    Fd target = open_beneath(root_.get(), rules.target, O_RDONLY | O_DIRECTORY);
    if (!target && errno == ENOENT) {
      if (rules.dry_run) return target;
      make_target(rules.target);
      target = open_beneath(root_.get(), rules.target, O_RDONLY | O_DIRECTORY);
    }
    if (!target) throw_errno(ExitStatus::no_input, "open the target", "/" + rules.target, remedy);
    if (!rules.dry_run && ::flock(target.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) throw Error(ExitStatus::busy, "another restore is writing into /" + escape(rules.target), "wait for its end");
      throw_errno(ExitStatus::io, "lock", "/" + rules.target);
    }
    return target;
  }

  void make_target(const std::string& target) const {
    for (std::size_t cut = target.find('/');; cut = target.find('/', cut + 1)) {
      const std::string path = target.substr(0, cut);
      const Fd parent = open_beneath(root_.get(), parent_of(path), O_RDONLY | O_DIRECTORY);
      if (!parent) throw_errno(ExitStatus::no_input, "open", "/" + std::string(parent_of(path)), "name a folder by its real path, without a symbolic link in it");
      if (::mkdirat(parent.get(), std::string(name_of(path)).c_str(), 0755) != 0 && errno != EEXIST) throw_errno(ExitStatus::no_input, "make the folder", "/" + path);
      if (cut == std::string::npos) return;
    }
  }

  // From a worker: this machine cannot go on. The server hears why.
  void give_up(std::exception_ptr failure) {
    {
      const std::lock_guard lock(mutex_);
      if (failure_) return;
      failure_ = failure;
    }
    try {
      std::rethrow_exception(failure);
    } catch (const Error& error) {
      try {
        send_error(out_, told(error));  // the server ends the connection when it has read this
        return;
      } catch (const Error&) {
      }
    } catch (...) {
    }
    stream_.abort();
  }

  void note(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
  }

  ByteStream& stream_;
  const RestoreAccess& access_;
  const Fd& root_;
  FrameReader in_;
  FrameWriter out_;
  std::optional<RestoreRound> round_;
  std::mutex mutex_;
  std::exception_ptr failure_;
  Heartbeat heartbeat_{out_};
};

}  // namespace

void serve_restore(ByteStream& stream, const RestoreAccess& access, const Fd& root) { RestoreSession(stream, access, root).serve(); }

}  // namespace syncropy

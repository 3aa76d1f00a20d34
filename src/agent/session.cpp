#include "agent/session.hpp"

#include <fcntl.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "agent/access.hpp"
#include "agent/command.hpp"
#include "agent/fetcher.hpp"
#include "model/limits.hpp"
#include "scan/details.hpp"
#include "scan/walk.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/folder.hpp"
#include "wire/frame.hpp"
#include "wire/greeting.hpp"
#include "wire/messages.hpp"
#include "wire/reject.hpp"

namespace syncropy {
namespace {

constexpr unsigned fetch_workers = 2;
constexpr unsigned walk_threads = 2;

// Entries messages may be sent ahead of what the server has taken by limits::listing_window: its memory, not ours, is at stake.
class Credit {
 public:
  void add(std::uint64_t messages) {
    const std::lock_guard lock(mutex_);
    credit_ += messages;
    if (credit_ > limits::listing_window) reject_server("granted more listing than its window");
    changed_.notify_all();
  }
  // False when the session ends meanwhile.
  [[nodiscard]] bool take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return credit_ > 0 || ended_; });
    if (ended_) return false;
    --credit_;
    return true;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t credit_ = limits::listing_window;
  bool ended_ = false;
};

struct SessionEnded {};

class ListingSink : public WalkSink {
 public:
  ListingSink(FrameWriter& out, Credit& credit, Activity& activity) : out_(out), credit_(credit), activity_(activity) {}
  void entry(std::string_view path, const Stat& stat, bool is_unread) override {
    put(batch_, path, stat, is_unread, previous_);
    previous_.assign(path);
    ++listed_.entries;
    ++activity_.entries;
    if (batch_.size() >= limits::listing_bytes) send();
  }
  void problem(const WalkProblem& problem) override {
    send();  // the entry it is about goes first
    ++listed_.problems;
    ByteWriter out;
    put(out, Problem{problem.path, problem.tried, static_cast<std::uint32_t>(problem.code)});
    out_.send(MessageType::problem, out.view());
  }
  void finish() {
    send();
    listed_.digest = hasher_.finish();
    ByteWriter out;
    put(out, listed_);
    out_.send(MessageType::listed, out.view());
    out_.flush();
  }

 private:
  void send() {
    if (batch_.size() == 0) return;
    if (!credit_.take()) throw SessionEnded{};
    hasher_.update(batch_.view());
    out_.send(MessageType::entries, batch_.view());
    out_.flush();
    batch_.clear();
    previous_.clear();
  }

  FrameWriter& out_;
  Credit& credit_;
  Activity& activity_;
  ByteWriter batch_;
  std::string previous_;
  Hasher hasher_;
  Listed listed_;
};

// Requests wait here for a worker, a fetch message at a time: neighbours go to one worker, which keeps their folder open.
class FetchQueue {
 public:
  // Waits while the requests' paths and digests hold more than queued_bytes: a few bytes on the wire can stand for long paths here. The
  // workers wait for the server alone, which takes answers whatever it sends.
  void push(std::vector<FetchRequest> requests) {
    std::unique_lock lock(mutex_);
    waiting_ += requests.size();
    if (waiting_ > limits::fetch_window) reject_server("asked for more files at once than its window");
    room_.wait(lock, [this] { return bytes_ <= queued_bytes || ended_; });
    bytes_ += bytes_of(requests);
    batches_.push_back(std::move(requests));
    changed_.notify_one();
  }
  [[nodiscard]] bool pop(std::vector<FetchRequest>& requests) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !batches_.empty() || ended_; });
    if (ended_) return false;
    requests = std::move(batches_.front());
    batches_.pop_front();
    bytes_ -= bytes_of(requests);
    room_.notify_one();
    return true;
  }
  void answered(std::size_t count) {
    const std::lock_guard lock(mutex_);
    waiting_ -= count;
  }
  [[nodiscard]] bool empty() {
    const std::lock_guard lock(mutex_);
    return batches_.empty();
  }
  // Ends what waits for requests, if there are none; restart() when that has ended.
  [[nodiscard]] bool rest() {
    const std::lock_guard lock(mutex_);
    if (waiting_ > 0 || ended_) return false;
    ended_ = true;
    changed_.notify_all();
    return true;
  }
  void restart() {
    const std::lock_guard lock(mutex_);
    ended_ = false;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
    room_.notify_all();
  }

 private:
  static constexpr std::size_t queued_bytes = 16U << 20;
  static std::size_t bytes_of(const std::vector<FetchRequest>& requests) {
    std::size_t bytes = 0;
    for (const FetchRequest& request : requests) bytes += sizeof request + request.path.size() + 16 * request.blocks.size();
    return bytes;
  }

  std::mutex mutex_;
  std::condition_variable changed_, room_;
  std::deque<std::vector<FetchRequest>> batches_;
  std::size_t waiting_ = 0, bytes_ = 0;
  bool ended_ = false;
};

class Session {
 public:
  Session(SecuredStream& secured, const AgentPolicy& policy, const Fd& root, Activity& activity, const Event& stopping)
      : stream_(*secured.stream), policy_(policy), root_(root), activity_(activity), stopping_(stopping), access_(policy), in_(stream_), out_(stream_),
        server_name_(name_of(secured.peer)) {}
  ~Session() { end_threads(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void serve() {
    try {
      Frame frame;
      const bool greeted = answer_greeting(in_, out_, "syncropy-agent");
      while (greeted && in_.next(frame) && frame.type != MessageType::bye) handle(frame);
    } catch (...) {
      note(std::current_exception());  // kept only if no worker failed first and aborted the stream to wake this thread
    }
    end_threads();
    if (first_error_) std::rethrow_exception(first_error_);
    stream_.finish();
  }

 private:
  void handle(const Frame& frame) {
    // The server waits for a command. So this reads on meanwhile for nothing but its end, which is the command's end too.
    if (command_runs_ && frame.type != MessageType::error) reject_server("asked for something while a command ran");
    switch (frame.type) {
      case MessageType::run: return handle_run(get_run(frame.payload));
      case MessageType::list: return handle_list(get_list(frame.payload));
      case MessageType::credit: {
        ByteReader in(frame.payload, ExitStatus::protocol, "a credit message");
        credit_.add(in.unsigned_at_most(limits::listing_window));
        return in.expect_end();
      }
      case MessageType::fetch: {
        start_workers();
        return fetches_.push(get_fetch(frame.payload));
      }
      case MessageType::error: {
        const ErrorMessage message = get_error(frame.payload);
        throw Error(message.status, "the server ended the run: " + escape(message.text), escape(message.remedy));
      }
      case MessageType::restore:
        end_session(in_, out_, Error(ExitStatus::refused, "this agent serves backups and cannot write",
                                     "start syncropy-restore.socket on the client, and name its port as 'restore_port' in the server's config"));
      default: reject_server("sent a message that only an agent sends");
    }
  }

  void handle_run(Run request) {
    if (command_.joinable()) command_.join();
    activity_.doing = "running a command";
    command_runs_ = true;
    command_ = std::thread([this, request = std::move(request)] {
      try {
        release_folders();
        const Ran result = run(request);
        activity_.doing = "waiting";
        command_runs_ = false;  // before the server hears, and may ask for the next thing
        ByteWriter out;
        put(out, result);
        out_.send(MessageType::ran, out.view());
        out_.flush();
      } catch (...) {
        give_up(std::current_exception());
      }
    });
  }

  Ran run(const Run& request) {
    try {
      return run_command(policy_, request, server_name_, {&cut_, &stopping_}, [this](std::string_view output) {
        out_.send(MessageType::output, output);
        out_.flush();
      });
    } catch (const Error& error) {
      if (error.status() != ExitStatus::refused && error.status() != ExitStatus::command) throw;
      // An answer, not the end of the session: the post-command must still get its chance.
      return {CommandEnd::not_run, static_cast<std::uint32_t>(error.status()), error.what(), error.remedy()};
    }
  }

  // A post-command may want to unmount what was read: the threads that hold folders open end where they have nothing left to do, and start
  // again when they have.
  void release_folders() {
    if (listing_over_ && lister_.joinable()) lister_.join();
    if (!fetches_.rest()) return;
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    fetches_.restart();
  }

  void handle_list(const ListRequest& request) {
    if (asked_for_listing_) reject_server("asked for a second listing");
    asked_for_listing_ = true;
    activity_.doing = "listing";
    for (const std::string& path : request.paths)
      if (!access_.allows(path))
        end_session(in_, out_, Error(ExitStatus::refused, "the agent's policy does not let /" + escape(path) + " be read", "add it to 'read' (and take it from 'deny') in the agent's policy, or take it out of the server's config"));
    for (const std::string& path : request.paths)
      if (const Fd wanted = open_beneath(root_.get(), path, O_PATH)) wanted_filesystems_.push_back(stat_of(wanted.get()).filesystem);
    lister_ = std::thread([this, request] {
      try {
        WalkRequest walk_request;
        walk_request.root = root_.get();
        walk_request.paths = request.paths;
        walk_request.excludes = request.excludes;
        walk_request.denied = access_.denied();
        walk_request.one_file_system = request.one_file_system;
        walk_request.max_depth = request.max_depth;
        walk_request.threads = walk_threads;
        ListingSink sink(out_, credit_, activity_);
        walk(walk_request, sink);
        sink.finish();
      } catch (const SessionEnded&) {
      } catch (const Error& error) {
        note(std::current_exception());
        try {
          send_error(out_, error);  // the server ends the connection when it has read this
        } catch (const Error&) {
          stream_.abort();
        }
      } catch (...) {
        give_up(std::current_exception());
      }
      listing_over_ = true;
    });
  }

  void start_workers() {
    activity_.doing = listing_over_ ? "reading" : "listing and reading";
    while (workers_.size() < fetch_workers) {
      workers_.emplace_back([this, wanted = wanted_filesystems_] {
        try {
          Fetcher fetcher(root_, access_, out_, [this] {
            if (ended_) throw SessionEnded{};
          });
          for (const std::uint64_t filesystem : wanted) fetcher.allow_filesystem(filesystem);
          std::vector<FetchRequest> requests;
          while (fetches_.pop(requests)) {
            for (const FetchRequest& request : requests) {
              // The window frees up before the answer is out: the server may ask again the moment it has it.
              fetches_.answered(1);
              fetcher.answer(request);
              ++activity_.files;
            }
            if (fetches_.empty()) out_.flush();
          }
        } catch (const SessionEnded&) {
        } catch (...) {
          give_up(std::current_exception());
        }
      });
    }
  }

  void note(std::exception_ptr error) {
    const std::lock_guard lock(error_mutex_);
    if (!first_error_) first_error_ = std::move(error);
  }

  bool failed() {
    const std::lock_guard lock(error_mutex_);
    return first_error_ != nullptr;
  }

  void give_up(std::exception_ptr error) {
    note(std::move(error));
    fetches_.end();  // the reading thread may wait for room in it
    stream_.abort();
  }

  void end_threads() {
    ended_ = true;
    cut_.set();
    // Whoever writes may be blocked by a peer that is gone; one that is in order has asked for nothing more.
    if (failed()) stream_.abort();
    if (command_.joinable()) command_.join();
    credit_.end();
    fetches_.end();
    if (failed()) stream_.abort();
    if (lister_.joinable()) lister_.join();
    for (std::thread& worker : workers_)
      if (worker.joinable()) worker.join();
    workers_.clear();
  }

  ByteStream& stream_;
  const AgentPolicy& policy_;
  const Fd& root_;
  Activity& activity_;
  const Event& stopping_;
  ReadAccess access_;
  FrameReader in_;
  FrameWriter out_;
  std::string server_name_;
  Credit credit_;
  FetchQueue fetches_;
  Event cut_;                              // whoever waited for a command does not any more
  std::thread command_;
  std::atomic<bool> command_runs_ = false;
  bool asked_for_listing_ = false;
  std::atomic<bool> listing_over_ = false;
  std::thread lister_;
  std::vector<std::uint64_t> wanted_filesystems_;  // of the paths that were asked for
  std::vector<std::thread> workers_;
  std::atomic<bool> ended_ = false;  // workers look at it every few MiB
  std::mutex error_mutex_;
  std::exception_ptr first_error_;
  Heartbeat heartbeat_{out_};
};

}  // namespace

void serve_session(SecuredStream& secured, const AgentPolicy& policy, const Fd& root, Activity& activity, const Event& stopping) {
  Session(secured, policy, root, activity, stopping).serve();
}

std::string name_of(const PeerIdentity& peer) {
  if (!peer.names.empty() && !peer.names.front().empty()) return peer.names.front();
  return !peer.plain.empty() ? peer.plain : "SHA-256 " + to_hex(peer.fingerprint);
}

void refuse_session(SecuredStream& secured, const Error& why) noexcept {
  try {
    FrameReader in(*secured.stream);
    FrameWriter out(*secured.stream);
    Frame frame;
    if (!in.next(frame) || frame.type != MessageType::hello) return;
    send_error(out, why);
    secured.stream->finish();
    static_cast<void>(in.next(frame));  // the server closes first, so that nothing of this is cut off
  } catch (const std::exception&) {
    // It is refused either way.
  }
}

}  // namespace syncropy

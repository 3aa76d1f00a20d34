#pragma once
// One restore from its rules to its finish: entries arrive in manifest order, workers compare and place them, content follows for those
// that want it, folders get their attributes last.
//
// Memory is bounded by the window of entries without an outcome, by each worker's queue, and by the folders' attributes, which wait in
// their compact encoding for the end.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "restore/placer.hpp"
#include "scan/excludes.hpp"
#include "wire/frame.hpp"
#include "wire/restore-messages.hpp"

namespace syncropy {

// What is to be done about `entry` where `found` is at its place.
[[nodiscard]] RestoreResult decide(const Found& found, const Entry& entry, const RestoreRules& rules);

// Where a restore may write: at or below `allowed` ("" is everywhere), except at or below `denied`. Relative to its target.
struct RestoreBounds {
  std::vector<std::string> allowed{""};
  std::vector<std::string> denied;
};

class RestoreRound {
 public:
  // `target`: the folder that stands for the dataset's root; in a dry run it need not exist, and is any folder then. `give_up` is called,
  // from a worker, when this machine cannot go on. Answers go to `out`.
  RestoreRound(Fd target, bool exists, RestoreRules rules, RestoreBounds bounds, FrameWriter& out, std::function<void(std::exception_ptr)> give_up);
  ~RestoreRound();
  RestoreRound(const RestoreRound&) = delete;
  RestoreRound& operator=(const RestoreRound&) = delete;

  // One thread calls these, in the order in which the frames came. They throw Error(protocol) for what the server must not send.
  void place(std::string_view payload);
  void content(Frame&& frame);
  void content_end(std::string_view payload);
  // All entries have an outcome: folders get theirs, what was written is synced.
  void finish();

 private:
  struct Item {
    std::uint32_t id = 0;
    Entry entry;
    bool known_absent = false;  // in a folder that this restore has made
  };
  struct Job {
    std::unique_ptr<Item> item;   // either an entry …
    Frame content;                // … or a data message …
    std::optional<ContentEnd> end;  // … or the end of the content
  };
  // A file that waits for content, or receives it.
  struct Receiving {
    std::unique_ptr<Item> item;
    bool over = false;            // something is to be replaced
    std::optional<Aside> aside;   // once content has come
    std::optional<RestoreOutcome> failed;
  };
  // The names of one inode: the first that is in place leads, the others are linked to it.
  struct Group {
    bool is_settled = false;
    std::string leader;           // empty with is_settled: the one that was to lead failed
    std::vector<std::unique_ptr<Item>> waiting;
    std::uint64_t seen = 1;
  };
  using InodeKey = std::pair<std::uint64_t, std::uint64_t>;  // filesystem, inode
  struct Worker {
    Worker(const Fd& target, const RestoreRules& rules) : placer(target, rules) {}
    Placer placer;
    std::deque<Job> jobs;
    std::size_t bytes = 0;
    std::condition_variable wakes;
    std::unordered_map<std::uint32_t, Receiving> receiving;
    std::map<InodeKey, Group> groups;
    ByteWriter outcomes;
    std::vector<std::uint32_t> wants;
    std::thread thread;
  };
  // A folder of the path that was placed last.
  struct Level {
    std::string path;
    bool is_new = false;                          // made by this restore, or (dry run) not there
    std::optional<RestoreOutcome> blocked;        // what lies below cannot be placed either
    std::uint64_t filesystem = 0;                 // of what is there
    bool is_mount = false;
    bool clears = false;                          // others are to be removed from it
    std::vector<std::string> names;               // with `clears`
    Excludes::Position position;                  // with `clears`
  };

  [[nodiscard]] static Level blocked_level(const std::string& path, const RestoreOutcome& outcome);
  void check_order(const PlacedEntry& placed);
  enum class Reach { allowed, leads, out };  // leads: a folder above one that is allowed
  [[nodiscard]] Reach reach(std::string_view path) const;
  void leave_to(std::string_view path);
  void clear(const Level& level);
  void open_folder(PlacedEntry&& placed, bool must_exist);
  void answer(std::uint32_t id, RestoreOutcome outcome);
  Worker& worker_of(std::uint32_t id);
  void enqueue(Worker& worker, Job job);

  void work(Worker& worker);
  void send_answers(Worker& worker);
  void answer(Worker& worker, const Item& item, RestoreOutcome outcome);
  void process(Worker& worker, std::unique_ptr<Item> item);
  void place_alone(Worker& worker, std::unique_ptr<Item> item);
  void place_link(Worker& worker, const Item& item, const std::string& leader);
  void receive(Worker& worker, Frame& frame);
  void receive_end(Worker& worker, const ContentEnd& end);
  void settle(Worker& worker, const Entry& entry, bool is_in_place);
  [[nodiscard]] RestoreOutcome finish_folder(const Entry& entry, bool is_new);

  RestoreRules rules_;
  Fd target_;
  bool exists_;
  RestoreBounds bounds_;
  Excludes excludes_;
  FrameWriter& out_;
  std::function<void(std::exception_ptr)> give_up_;
  Placer placer_;                                 // for folders, by the calling thread

  std::vector<Level> levels_;
  std::string last_path_;
  bool any_ = false;
  std::uint64_t entries_ = 0;
  std::deque<std::string> folders_;               // id, whether it is new, entry: each encoded
  std::unordered_map<std::uint32_t, Worker*> rerouted_;  // names of an inode go to the worker of the first
  std::map<InodeKey, Worker*> group_workers_;

  std::mutex mutex_;
  std::condition_variable room_;
  bool ending_ = false;
  std::atomic<std::uint64_t> pending_ = 0;        // entries but folders without an outcome
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace syncropy

#pragma once
// What the planner, the receiving thread and the workers of one client's run share.
//
// Entries travel in batches of consecutive paths. The planner fills a batch and seals it; workers settle its items, by a link from
// the dataset before or by what the agent sends; when none is pending the planner takes it off the front of the line and writes it
// to the manifest. So everything overlaps, the manifest is in order, and memory is bounded by the line's length.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "model/entry.hpp"
#include "server/progress.hpp"
#include "util/fd.hpp"
#include "wire/frame.hpp"

namespace syncropy {

struct FetchedFile;

namespace limits {
inline constexpr std::size_t batch_items = 256;
inline constexpr std::size_t line_items = 32'768;        // planned and not in the manifest yet
inline constexpr std::size_t line_bytes = 64U << 20;     // paths and attributes of those: above it nothing more is planned
inline constexpr std::size_t most_line_bytes = 512U << 20;  // with the attributes that answers have brought since
inline constexpr std::size_t group_bytes = 256U << 20;   // leaders of inodes with several names: above it, names are fetched by themselves
inline constexpr unsigned restarts = 2;                  // of one file
inline constexpr std::size_t queued_bytes = 8U << 20;    // content that waits for one worker, and once more what it is busy with
inline constexpr std::size_t queued_problems = 1U << 20;  // bytes of problems of a listing that wait for the planner
inline constexpr std::size_t queued_jobs = 4'096;        // jobs that wait for one worker, likewise
}  // namespace limits

struct Item {
  Entry entry;
  bool link = false;      // taken over from the dataset before by a hard link
  std::string link_from;  // with `link`: the name it had, where that is another of its inode's names; empty otherwise
  bool dropped = false;   // vanished before it was read: not in the dataset
  bool occupied = false;  // a recycled tree still holds what the dataset before has there, a file or a symbolic link
};

struct EntryBatch {
  std::vector<Item> items;   // at most limits::batch_items, reserved: an item never moves
  std::size_t pending = 1;   // items (and the planner, until it seals) that are not settled; under Pipeline::mutex
  std::size_t bytes = 0;     // of its entries, as far as they are known; likewise
};

// Regular files with several names. The first name that is met leads the others: it is linked from the dataset before, and so are they,
// or it is fetched, and they follow it without a transfer. So names of one inode stay names of one inode whichever of them is new.
struct InodeKey {
  std::uint64_t filesystem, inode;
  bool operator==(const InodeKey&) const = default;
};
// Seeded at random in each process: an agent names these numbers, and could have all of them collide.
struct InodeKeyHash {
  std::size_t operator()(const InodeKey& key) const;
};

// An item that waits for the agent.
struct Flight {
  EntryBatch* batch = nullptr;
  Item* item = nullptr;
  std::optional<Entry> before;      // in the dataset before: a regular file with content, of the same path or the same inode
  bool offer_known = true;          // its digest goes with the request
  std::optional<InodeKey> leads;
  bool answered = false;            // its closing answer has arrived
  bool predecessor_damaged = false;
  std::uint64_t charged = 0;        // of Pipeline::content_bytes_
  unsigned restarts = 0;
  std::uint64_t taken = 0, most_taken = 0;  // bytes of content since its last restart, and the most that it ever was
};

struct Group {
  std::optional<Entry> linked;      // the leader is unchanged: this is its entry in the dataset before
  std::optional<Entry> leader;      // the leader was fetched and is settled: followers link to it
  std::vector<Flight> waiting;
  std::uint64_t seen = 1;
  std::size_t bytes = 0;            // of Pipeline::group_bytes_
};

// What an entry takes in memory: path, names and attributes.
[[nodiscard]] std::size_t bytes_of(const Entry& entry);

class Pipeline {
 public:
  // `removed`: `tree` holds already what `previous_tree` does; see TreeBuilder. `max_bytes`: what regular files may hold together that come from the agent.
  Pipeline(const Fd& tree, const Fd& previous_tree, const Fd& removed, std::uint64_t max_bytes, Progress& progress);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // --- for the receiving thread
  // A frame of a listing or a fetch. Blocks while the worker it belongs to is behind.
  void take(Frame&& frame);
  // The session failed: everybody wakes up and the planner finds `failed()`.
  void end();  // the workers
  void fail(std::exception_ptr error);

  // --- for the planner
  // A number that moves whenever there may be something new to do; throws what failed the run.
  [[nodiscard]] std::uint64_t events();
  // Returns once the number is no longer `seen`.
  void wait(std::uint64_t seen);
  // The payload of the next entries message; false while there is none.
  [[nodiscard]] bool next_listing(std::string& payload);
  // For another batch in the line, by its items and their bytes. Nothing may be planned or asked for while there is none, but for the
  // front batch: once that is written, there is room again.
  [[nodiscard]] bool has_room();
  [[nodiscard]] const EntryBatch* front();
  // Once all entries messages were handed out: how many entries the agent says it listed.
  [[nodiscard]] std::optional<std::uint64_t> listing_end();
  // An item that must be fetched without an offer.
  [[nodiscard]] std::optional<Flight> next_retry();
  [[nodiscard]] std::size_t room_for_fetches();
  // Registers a flight and returns its id, for a request that is sent right after.
  [[nodiscard]] std::uint32_t launch(Flight flight);
  // For a name of an inode that has several. linked: the item is unchanged like its leader, or takes over what its leader had; the
  // planner links it. follows: its leader is fetched; it counts as pending until that is there. leads: it must be fetched.
  enum class Part { linked, follows, leads };
  // `filesystem` as listed now: numbers of filesystems may change from one boot to the next, and an unchanged entry has the old one.
  // `before`: the item's entry in the dataset before if it is unchanged, else null.
  [[nodiscard]] Part join_group(Flight& flight, std::uint64_t filesystem, const Entry* before);
  // A new batch at the end of the line; the planner adds items, counts each pending one, and seals.
  [[nodiscard]] EntryBatch& open_batch();
  void add_pending(EntryBatch& batch);
  // `bytes`: of its entries, as bytes_of() tells.
  void seal(EntryBatch& batch, bool has_links, std::size_t bytes);
  // The batch at the front once it is settled, else null.
  [[nodiscard]] std::unique_ptr<EntryBatch> take_front();
  // Nothing is on its way and nothing is left in line.
  [[nodiscard]] bool is_idle();

  struct Problem {
    std::string path, tried;
    int code;
    bool of_listing;  // else of a fetch
  };
  // Makes room for more: whatever else the planner waits for, it takes these.
  [[nodiscard]] std::vector<Problem> take_problems();

  std::uint64_t new_files() const { return new_files_; }
  std::uint64_t new_bytes() const { return new_bytes_; }

 private:
  struct Job;
  struct Worker;
  void work(Worker& worker);
  void enqueue(Worker& worker, Job job);
  void link_batch(Worker& worker, EntryBatch& batch);
  void take_file_frame(Worker& worker, Frame& frame, std::uint32_t id, Flight& flight);
  void finish_file(Worker& worker, std::string_view payload, std::uint32_t id, Flight& flight);
  [[nodiscard]] bool place_regular(Worker& worker, const FetchedFile& file, std::uint32_t id, Flight& flight);
  [[nodiscard]] bool take_over(Worker& worker, Item& item, const Entry& before);
  void fail_file(Worker& worker, std::string_view payload, std::uint32_t id, Flight& flight);
  void follow_leader(Worker& worker, const Entry& leader, Flight& flight);
  void land(Worker& worker, std::uint32_t id, Flight& flight);
  void retry_whole(Worker& worker, std::uint32_t id, Flight& flight);
  void charge(Flight& flight, std::uint64_t bytes);
  void refund(Flight& flight);
  void check_on();
  void add_details(EntryBatch& batch, const Entry& entry);
  void settle(EntryBatch& batch);
  // With mutex_ held:
  void wake_planner();
  [[nodiscard]] bool remember(Group& group, std::optional<Entry>& place, const Entry& entry);
  void forget(std::unordered_map<InodeKey, Group, InodeKeyHash>::iterator group);

  Progress& progress_;
  const std::uint64_t max_bytes_;
  std::mutex mutex_;
  std::condition_variable planner_wakes_;
  std::condition_variable room_;             // in a worker's queue, or for problems
  std::uint64_t events_ = 1;
  std::exception_ptr failure_;
  bool ending_ = false;

  std::deque<std::string> listing_;
  Hasher listing_hasher_;
  std::uint64_t listing_problems_ = 0;
  std::string last_problem_;                 // its path
  std::optional<std::uint64_t> listing_end_;

  std::deque<std::unique_ptr<EntryBatch>> line_;
  std::size_t line_items_ = 0, line_bytes_ = 0;
  std::unordered_map<std::uint32_t, Flight> flights_;   // values are stable: a worker holds a pointer while it works
  std::uint32_t next_id_ = 1;
  std::deque<Flight> retries_;
  std::unordered_map<InodeKey, Group, InodeKeyHash> groups_;
  std::size_t group_bytes_ = 0;
  std::vector<Problem> problems_;
  std::size_t problem_bytes_ = 0;
  std::uint64_t content_bytes_ = 0;   // of the files that were fetched, holes included, as far as they have come
  std::atomic<std::uint64_t> new_files_ = 0, new_bytes_ = 0;

  std::vector<std::unique_ptr<Worker>> workers_;
  std::size_t next_link_worker_ = 0;
};

}  // namespace syncropy

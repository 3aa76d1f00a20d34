#include "server/plan.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <unordered_set>

#include "model/limits.hpp"
#include "repository/damage.hpp"
#include "repository/tree.hpp"
#include "sd/journal.hpp"
#include "server/moved.hpp"
#include "server/pipeline.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/folder.hpp"
#include "wire/reject.hpp"

namespace syncropy {
namespace {

// Below this a changed file is sent whole: its block digests would cost a reading here to save little there.
constexpr std::uint64_t delta_threshold = 4U << 20;
// Files that are new by their path are looked for under other names once there are so many of them, or they hold so much: for fewer, reading
// the whole manifest costs more than transferring them.
constexpr std::uint64_t moved_files = 64, moved_bytes = 1U << 20;
constexpr std::size_t fetch_payload = 256U << 10;

class Planner {
 public:
  Planner(AgentSession& agent, const ClientSettings& client, const std::optional<PreviousDataset>& previous, const Staging& staging, DatasetInfo& info,
          Progress& progress, SegmentFeed& feed, std::shared_ptr<Pipeline> pipeline, const Fd& previous_tree)
      : agent_(agent), client_(client), staging_(staging), info_(info), progress_(progress), pipeline_(std::move(pipeline)),
        recycled_(staging.spare_manifest), builder_(staging.tree, previous_tree, staging.removed), left_builder_(staging.tree, {}, staging.removed) {
    const ManifestIndex* previous_index = nullptr;
    Fd previous_manifest;
    if (previous) {
      previous_manifest = open_manifest(previous->folder);
      previous_name_ = client.name + "/" + std::string(name_of(previous->info.tier)) + "/" + previous->info.name;
      before_.emplace(previous_manifest.duplicate(), previous_name_);
      previous_manifest_ = previous_manifest.duplicate();
      previous_index = &before_->index();
      damaged_ = DamageList::read(previous->folder.get());
      same_acl_setting_ = previous->info.acl == client.acl;
    }
    writer_.emplace(staging.manifest.duplicate(), previous_index, std::move(previous_manifest), &feed);
  }

  // Everything that can be done now is done, then the next event is awaited.
  void run(const std::function<void(const std::string&, const std::string&)>& on_problem) {
    for (;;) {
      const std::uint64_t seen = pipeline_->events();
      bool busy = write_settled();
      report(on_problem);
      while (std::optional<Flight> retry = pipeline_->next_retry()) outbox_.push_back(std::move(*retry));
      busy = send_requests() || busy;
      if (outbox_.size() < limits::fetch_window && plan()) {
        busy = true;
      } else if (const std::optional<std::uint64_t> listed = pipeline_->listing_end(); listed && listing_.empty()) {
        if (!listing_done_) {
          end_listing(*listed);
          continue;
        }
        if (outbox_.empty() && pipeline_->is_idle()) break;
      }
      if (!busy) pipeline_->wait(seen);
    }
    report(on_problem);
    if (vanished_ > 0) log(Priority::info, client_.name + ": " + std::to_string(vanished_) + " entries were gone, or something else, before they were read", {{"SYNCROPY_CLIENT", client_.name}});
  }

  void finish() {
    info_.new_files = pipeline_->new_files();
    info_.new_bytes = pipeline_->new_bytes();
    info_.completeness = info_.problems + problems_ > 0 ? Completeness::partial : Completeness::complete;
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    info_.finished = {now.tv_sec, static_cast<std::uint32_t>(now.tv_nsec)};
    while (!open_folders_.empty()) leave_folder();
    writer_->finish(info_);
  }

  static Fd open_manifest(const Fd& dataset) {
    Fd manifest = open_beneath(dataset.get(), "manifest", O_RDONLY | O_DIRECTORY);
    if (!manifest) throw_errno(damage_status(errno), "open", "the manifest of the newest dataset");
    return manifest;
  }

 private:
  // --- planning

  // Plans what there is room for, of one entries message: its paths may take very much more than its bytes. False when nothing can be done.
  bool plan() {
    if (listing_.empty()) {
      if (!pipeline_->next_listing(listing_)) return false;
      listing_at_ = 0;
      listing_path_.clear();
    }
    ByteReader in(std::string_view(listing_).substr(listing_at_), ExitStatus::protocol, "the agent's listing");
    const std::size_t all = in.remaining();
    bool released = false;
    while (!in.at_end()) {
      if (batch_ != nullptr && batch_->items.size() == limits::batch_items) seal();
      if (batch_ == nullptr) {
        if (!pipeline_->has_room()) {
          released = release_held();  // the line may be full because of them
          break;
        }
        batch_ = &pipeline_->open_batch();
      }
      ListedEntry listed = get_listed_entry(in, listing_path_);
      listing_path_ = listed.path;
      check(listed);
      plan_entry(std::move(listed));
    }
    listing_at_ += all - in.remaining();
    if (!in.at_end()) return released || in.remaining() != all;
    listing_.clear();
    agent_.send_credit(1);
    return true;
  }

  // What a hostile agent could do with a listing: names twice or out of order, a file with something in it, no end.
  void check(const ListedEntry& listed) {
    if (listed_ == 0) {
      if (!listed.path.empty() || listed.stat.type != FileType::folder) reject_client("began its listing with something else than the root folder");
    } else {
      if (compare_paths(last_path_, listed.path) >= 0) reject_client("listed /" + escape(listed.path) + " out of order");
      const std::string_view parent = parent_of(listed.path);
      const bool on_the_way = parent.empty() || folder_ == parent || (folder_.size() > parent.size() && folder_.starts_with(parent) && folder_[parent.size()] == '/');
      if (!on_the_way) reject_client("listed /" + escape(listed.path) + " in a folder that it did not list");
    }
    last_path_ = listed.path;
    if (listed.stat.type == FileType::folder) folder_ = listed.path;
    ++listed_;
    ++progress_.listed;
    if (listed_ > client_.max_entries)
      throw Error(ExitStatus::protocol, "the client lists more than " + std::to_string(client_.max_entries) + " entries", "raise 'max_entries' of the client if that is meant");
    if (std::count(listed.path.begin(), listed.path.end(), '/') >= static_cast<std::ptrdiff_t>(client_.max_depth))
      throw Error(ExitStatus::protocol, "/" + escape(listed.path) + " is deeper than " + std::to_string(client_.max_depth) + " folders", "raise 'max_depth' of the client if that is meant");
    if (listed.stat.type != FileType::regular) return;
    // Without a limit there is none: any user of the client can make files of 8 EiB, which the agent does not read.
    if (client_.max_bytes == limits::file_bytes) return;
    if (listed.stat.size > client_.max_bytes - listed_bytes_) reject_size();
    listed_bytes_ += listed.stat.size;
  }

  [[noreturn]] void reject_size() const {
    throw Error(ExitStatus::protocol, "the client's files are larger than " + std::to_string(client_.max_bytes) + " bytes together", "raise 'max_bytes' of the client if that is meant");
  }

  void plan_entry(ListedEntry&& listed) {
    const bool known = advance_to(listed.path);
    Item& item = batch_->items.emplace_back();
    Flight flight;
    flight.batch = batch_;
    flight.item = &item;
    const bool damaged = known && damaged_.has(old_.path);  // stored, but not as it should be: fetched whole
    const bool unchanged = known && !damaged && !listed.unread && same_acl_setting_ && (old_.flags & (racy | unstable | unread)) == 0 && same_listing(old_.stat, listed.stat);
    prepare_tree(listed, known, unchanged, item);
    if (unchanged) {
      have_old_ = false;
      item.entry = std::move(old_);
      batch_bytes_ += bytes_of(item.entry);
      const bool stored = item.entry.stat.type != FileType::folder && has_stored_name(item.entry);
      if (has_other_names(item.entry.stat) && pipeline_->join_group(flight, listed.stat.filesystem, &item.entry) == Pipeline::Part::follows) return touch(parent_of(item.entry.path));
      item.occupied = false;
      if (recycled_ && stored) ++progress_.linked;
      link(item, stored && !recycled_);
      return;
    }
    item.entry.path = std::move(listed.path);
    batch_bytes_ += item.entry.path.size();
    item.entry.stat = listed.stat;
    if (known && !damaged && old_.stat.type == FileType::regular && listed.stat.type == FileType::regular && old_.digest) {
      flight.before = std::move(old_);
    }
    if (known) have_old_ = false;
    if (listed.unread) {
      item.entry.flags = unread;  // the agent has said why
      return;
    }
    if (flight.before) batch_bytes_ += bytes_of(*flight.before);
    const bool may_be_moved = before_ && listed.stat.type == FileType::regular && listed.stat.size > 0 &&
                              (!flight.before || flight.before->stat.inode != listed.stat.inode);
    if (has_other_names(item.entry.stat)) {
      const Pipeline::Part part = pipeline_->join_group(flight, listed.stat.filesystem, nullptr);
      if (part == Pipeline::Part::linked) link(item, true);
      if (part != Pipeline::Part::leads) return;
    }
    pipeline_->add_pending(*batch_);
    if (may_be_moved) return hold(std::move(flight));
    outbox_.push_back(std::move(flight));
  }

  // Files that the dataset before may have under other names wait here, until there are enough of them to look.
  void hold(Flight&& flight) {
    held_bytes_ += flight.item->entry.stat.size;
    held_.push_back(std::move(flight));
    if (!moved_ && held_.size() < moved_files && held_bytes_ < moved_bytes) return;
    if (!moved_) moved_.emplace(previous_manifest_.duplicate(), previous_name_);
    for (Flight& held : held_)
      if (std::optional<Entry> found = moved_->find(held.item->entry.stat); found && !damaged_.has(found->path)) held.before = std::move(found);
    static_cast<void>(release_held());
  }

  // True when there were any.
  bool release_held() {
    if (held_.empty()) return false;
    for (Flight& held : held_) outbox_.push_back(std::move(held));
    held_.clear();
    held_bytes_ = 0;
    return true;
  }

  // What must be done to the tree in the manifest's order, before anything is put there.
  void prepare_tree(const ListedEntry& listed, bool known, bool unchanged, Item& item) {
    const bool is_folder = listed.stat.type == FileType::folder;
    if (!recycled_) {
      if (is_folder) builder_.make_folder(listed.path);
      return;
    }
    const bool was_folder = known && old_.stat.type == FileType::folder;
    if (was_folder) builder_.check_folder(old_);
    if (!unchanged) touch(parent_of(listed.path));
    if (is_folder && !unchanged) touch(listed.path);
    if (is_folder && was_folder) return;
    const bool stored = known && has_stored_name(old_);
    if (stored && !was_folder && (listed.stat.type == FileType::regular || listed.stat.type == FileType::symlink)) item.occupied = true;
    else if (stored) remove_old();
    if (is_folder) builder_.make_folder(listed.path);
  }

  // `old_` is not in the new dataset, or is another kind of thing there.
  void remove_old() {
    if (!has_stored_name(old_) || (removed_ && is_below(old_.path, *removed_))) return;
    touch(parent_of(old_.path));
    builder_.remove_stored(old_);
    if (old_.stat.type == FileType::folder) removed_ = old_.path;
  }

  void touch(std::string_view folder) {
    if (!recycled_ || last_touched_ == folder) return;
    last_touched_.assign(folder);
    touched_.insert(last_touched_);
  }

  // Times of folders last, when everything is in them that changes them. Entries come in the manifest's order, settled.
  void enter_folders(const Entry& entry) {
    while (!open_folders_.empty() && !is_below(entry.path, open_folders_.back().path)) leave_folder();
    if (entry.stat.type == FileType::folder) open_folders_.push_back({entry.path, entry.stat.mtime});
  }

  void leave_folder() {
    const OpenFolder& folder = open_folders_.back();
    if (!recycled_ || touched_.erase(folder.path) > 0) left_builder_.set_folder_time(folder.path, folder.mtime);
    if (last_touched_ == folder.path) last_touched_ = {'\0'};
    open_folders_.pop_back();
  }

  void link(Item& item, bool wanted) {
    item.link = wanted;
    links_ = links_ || wanted;
  }

  static bool has_other_names(const Stat& stat) { return stat.type == FileType::regular && stat.links > 1; }

  // Moves the old manifest up to `path`; true when it has it.
  bool advance_to(std::string_view path) {
    while (before_ && (have_old_ || !old_ended_)) {
      if (!have_old_) {
        if (!before_->next(old_)) {
          old_ended_ = true;
          return false;
        }
        have_old_ = true;
      }
      const auto order = compare_paths(old_.path, path);
      if (order == 0) return true;
      if (order > 0) return false;
      if (recycled_) remove_old();
      have_old_ = false;
    }
    return false;
  }

  void seal() {
    if (batch_ != nullptr) pipeline_->seal(*batch_, links_, std::exchange(batch_bytes_, 0));
    batch_ = nullptr;
    links_ = false;
  }

  void end_listing(std::uint64_t entries) {
    if (entries != listed_) reject_client("closed its listing with a count of " + std::to_string(entries) + " where it sent " + std::to_string(listed_));
    if (listed_ == 0) reject_client("listed nothing at all");
    while (recycled_ && (have_old_ || before_->next(old_))) {
      remove_old();
      have_old_ = false;
    }
    seal();
    static_cast<void>(release_held());
    listing_done_ = true;
    progress_.stage = "receiving";
  }

  // --- fetching

  bool send_requests() {
    bool sent = false;
    // Where the line is full of what has come, only what it waits for is asked for: the rest would come on top.
    std::size_t wanted = outbox_.size();
    if (wanted > 0 && !pipeline_->has_room()) {
      const EntryBatch* front = pipeline_->front();
      wanted = static_cast<std::size_t>(std::stable_partition(outbox_.begin(), outbox_.end(), [&](const Flight& flight) { return flight.batch == front; }) - outbox_.begin());
    }
    while (wanted > 0) {
      // A full message, or all there is: the pipeline's events come at multiples of a message.
      std::size_t room = std::min(pipeline_->room_for_fetches(), limits::fetch_batch);
      room = std::min(room, wanted);
      if (room < std::min(wanted, limits::fetch_batch)) break;
      std::vector<FetchRequest> requests;
      std::size_t bytes = 0;
      for (; room > 0 && bytes < fetch_payload; --room, --wanted) {
        requests.push_back(request_for(outbox_.front()));
        bytes += requests.back().path.size() + 16 * requests.back().blocks.size();
        requests.back().id = pipeline_->launch(std::move(outbox_.front()));
        outbox_.pop_front();
      }
      agent_.send(MessageType::fetch, requests);
      sent = true;
    }
    return sent;
  }

  FetchRequest request_for(const Flight& flight) {
    FetchRequest request;
    request.path = flight.item->entry.path;
    request.type = flight.item->entry.stat.type;
    request.acl = client_.acl;
    if (!flight.offer_known || !flight.before) return request;
    const Entry &before = *flight.before, &now = flight.item->entry;
    request.known = before.digest;
    // With size and mtime the same it is its attributes that changed, most likely: the agent reads it once, and nothing is read here.
    const bool likely_same = before.stat.size == now.stat.size && before.stat.mtime == now.stat.mtime;
    if (before.stat.size >= delta_threshold && !likely_same) offer_blocks(request, before);
    return request;
  }

  // Digests of the blocks that are stored here, as far as they can be read.
  void offer_blocks(FetchRequest& request, const Entry& before) {
    const Fd file = builder_.open_previous(before.path, before.stat.size);
    if (!file) return;
    request.block_bytes = limits::smallest_block;
    while ((before.stat.size + request.block_bytes - 1) / request.block_bytes > limits::blocks) request.block_bytes *= 2;
    std::string buffer(limits::data_bytes, '\0');
    for (std::uint64_t at = 0; at < before.stat.size;) {
      Hasher hasher;
      const std::uint64_t end = std::min(before.stat.size, at + request.block_bytes);
      static_cast<void>(pipeline_->events());  // throws once the run has failed
      while (at < end) {
        const ssize_t got = ::pread(file.get(), buffer.data(), std::min<std::uint64_t>(end - at, buffer.size()), static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
          request.blocks.clear();  // the whole file's digest still goes with the request
          return;
        }
        hasher.update({buffer.data(), static_cast<std::size_t>(got)});
        at += static_cast<std::uint64_t>(got);
      }
      const Digest digest = hasher.finish();
      std::copy_n(digest.begin(), 16, request.blocks.emplace_back().begin());
    }
  }

  // --- the manifest

  bool write_settled() {
    bool any = false;
    while (const std::unique_ptr<EntryBatch> batch = pipeline_->take_front()) {
      any = true;
      for (Item& item : batch->items) {
        ++progress_.settled;
        if (item.dropped) {
          ++vanished_;
          continue;
        }
        Entry& entry = item.entry;
        enter_folders(entry);
        ++info_.entries;
        if (entry.flags & unread) ++info_.problems;
        if (entry.stat.type == FileType::regular) {
          ++info_.files;
          // At the reading, where the listing may have said another; what was not read is nothing that is stored.
          if (!(entry.flags & unread)) info_.bytes += entry.stat.size;
          if (info_.bytes > client_.max_bytes) reject_size();
        }
        writer_->add(entry);
      }
    }
    return any;
  }

  void report(const std::function<void(const std::string&, const std::string&)>& on_problem) {
    for (const Pipeline::Problem& problem : pipeline_->take_problems()) {
      const bool was_asked_for = std::any_of(client_.paths.begin(), client_.paths.end(), [&](const std::string& wanted) {
        return wanted == "/" || (problem.path.starts_with(std::string_view(wanted).substr(1)) && (problem.path.size() + 1 == wanted.size() || problem.path[wanted.size() - 1] == '/'));
      });
      if (problem.of_listing && !was_asked_for) reject_client("reported a problem with /" + escape(problem.path) + ", which nobody asked for");
      ++problems_;
      on_problem(problem.path, "cannot " + escape(problem.tried) + " /" + escape(problem.path) + " (" + std::strerror(problem.code) + ")");
    }
  }

  AgentSession& agent_;
  const ClientSettings& client_;
  const Staging& staging_;
  DatasetInfo& info_;
  Progress& progress_;
  std::shared_ptr<Pipeline> pipeline_;
  const bool recycled_;  // the tree holds what the dataset before does
  TreeBuilder builder_;
  TreeBuilder left_builder_;  // for the times of folders that are left, far behind where the other one is
  std::optional<ManifestReader> before_;
  Fd previous_manifest_;
  std::string previous_name_;
  std::optional<MovedFiles> moved_;
  std::vector<Flight> held_;
  std::uint64_t held_bytes_ = 0;  // of their content
  DamageList damaged_;  // of the dataset before
  std::optional<ManifestWriter> writer_;
  bool same_acl_setting_ = true;
  Entry old_;
  bool have_old_ = false, old_ended_ = false;
  EntryBatch* batch_ = nullptr;
  bool links_ = false;
  std::size_t batch_bytes_ = 0;
  std::string listing_, listing_path_;  // the message that is being planned, and the path before the next entry's
  std::size_t listing_at_ = 0;
  std::deque<Flight> outbox_;
  std::string last_path_, folder_;
  std::uint64_t listed_ = 0, listed_bytes_ = 0, problems_ = 0, vanished_ = 0;
  bool listing_done_ = false;
  struct OpenFolder {
    std::string path;
    Timestamp mtime;
  };
  std::vector<OpenFolder> open_folders_;      // the folders on the way to the entry that was written last
  std::unordered_set<std::string> touched_;   // of a recycled tree: folders that get their time anew when they are left
  std::string last_touched_{'\0'};            // no folder's path
  std::optional<std::string> removed_;        // of a recycled tree: the folder that was removed last, with all that was in it
};

ListRequest list_request(const ClientSettings& client) {
  ListRequest request;
  for (const std::string& path : client.paths) request.paths.push_back(path.substr(1));
  std::sort(request.paths.begin(), request.paths.end(), [](const std::string& l, const std::string& r) { return compare_paths(l, r) < 0; });
  request.excludes = client.excludes;
  request.one_file_system = client.one_file_system;
  request.max_depth = client.max_depth;
  return request;
}

}  // namespace

void take_dataset(AgentSession& agent, const ClientSettings& client, const std::optional<PreviousDataset>& previous, const Staging& staging, DatasetInfo& info,
                  Progress& progress, SegmentFeed& feed, const std::function<void(const std::string&, const std::string&)>& on_problem) {
  Fd previous_tree;
  if (previous) {
    previous_tree = open_beneath(previous->folder.get(), "tree", O_RDONLY | O_DIRECTORY);
    if (!previous_tree) throw_errno(damage_status(errno), "open", "the tree of the newest dataset");
  }
  const auto pipeline = std::make_shared<Pipeline>(staging.tree, previous_tree, staging.removed, client.max_bytes, progress);
  Planner planner(agent, client, previous, staging, info, progress, feed, pipeline, previous_tree);
  try {
    progress.stage = "listing";
    agent.receive([pipeline](Frame&& frame) { pipeline->take(std::move(frame)); },
                  [pipeline] { pipeline->fail(std::make_exception_ptr(Error(ExitStatus::protocol, "the connection to the agent failed"))); });
    agent.send(MessageType::list, list_request(client));
    planner.run(on_problem);
    agent.stop_receiving();
  } catch (...) {
    pipeline->fail(std::current_exception());  // wakes whoever waits for room that nobody will make
    agent.stop_receiving();
    agent.check();  // where the session failed first, its error says why
    try {
      throw;
    } catch (const Error& error) {
      if (error.status() == ExitStatus::protocol) throw agent.blame(error);
      throw;
    }
  }
  planner.finish();
}

}  // namespace syncropy

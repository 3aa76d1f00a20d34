// Above 600 lines: receiving, the workers and the planner share one lock, and what each may do under it is read side by side.

#include "server/pipeline.hpp"

#include <array>
#include <cerrno>
#include <random>

#include "repository/tree.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "wire/messages.hpp"
#include "wire/reject.hpp"

namespace syncropy {
namespace {

constexpr std::size_t worker_count = 2;

std::uint32_t id_of(std::string_view payload) {
  ByteReader in(payload, ExitStatus::protocol, "an answer to a fetch");
  return static_cast<std::uint32_t>(in.unsigned_at_most(UINT32_MAX));
}

// Between listing and reading the name went away, or became something else: the next run meets it as it then is.
bool has_vanished(std::uint32_t code) { return code == ENOENT || code == type_changed || code == ENOTDIR || code == ELOOP; }

bool takes_known(const Flight& flight) { return flight.offer_known && flight.before; }

std::size_t bytes_of(const Details& details) {
  std::size_t bytes = details.owner.size() + details.group.size() + details.link_target.size() + details.extents.size() * sizeof(Extent);
  for (const auto* acl : {&details.access_acl, &details.default_acl})
    for (const AclEntry& entry : *acl) bytes += sizeof entry + entry.name.size();
  for (const Xattr& xattr : details.xattrs) bytes += sizeof xattr + xattr.name.size() + xattr.value.size();
  return bytes;
}

}  // namespace

std::size_t InodeKeyHash::operator()(const InodeKey& key) const {
  static const std::uint64_t seed = std::uint64_t{std::random_device{}()} << 32 | std::random_device{}();
  // The finisher of SplitMix64, once for each number.
  auto mix = [](std::uint64_t value) {
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9U;
    value = (value ^ value >> 27) * 0x94D049BB133111EBU;
    return value ^ value >> 31;
  };
  return mix(mix(key.inode ^ seed) + key.filesystem + seed);
}

std::size_t bytes_of(const Entry& entry) { return entry.path.size() + bytes_of(entry.details); }

struct Pipeline::Job {
  EntryBatch* links = nullptr;                 // either a batch to link …
  std::uint32_t id = 0;                   // … or a frame for a flight …
  Flight* flight = nullptr;
  Frame frame;
  std::optional<Entry> leader;            // … or a follower of a settled leader
  Flight follower;
};

struct Pipeline::Worker {
  Worker(const Fd& tree, const Fd& previous, const Fd& removed) : builders{TreeBuilder(tree, previous, removed), TreeBuilder(tree, previous, removed)} {}
  void make_room(Item& item) {
    if (std::exchange(item.occupied, false)) builder().remove_stored(item.entry);
  }
  // The agent's workers answer for two places at once, and each answer for one comes between answers for the other: so there is a builder for
  // each, which stays in its folder. With one, a first run opened 7 folders for each that it has.
  TreeBuilder& builder() { return builders[place]; }
  std::array<TreeBuilder, 2> builders;
  std::size_t place = 0;
  std::deque<Job> jobs;
  std::size_t bytes = 0;
  std::condition_variable wakes;
  std::unordered_map<std::uint32_t, FileSink> sinks;
  std::thread thread;
};

Pipeline::Pipeline(const Fd& tree, const Fd& previous_tree, const Fd& removed, std::uint64_t max_bytes, Progress& progress)
    : progress_(progress), max_bytes_(max_bytes) {
  for (std::size_t i = 0; i < worker_count; ++i) workers_.push_back(std::make_unique<Worker>(tree, previous_tree, removed));
  try {
    for (auto& worker : workers_) worker->thread = std::thread([this, &worker = *worker] { work(worker); });
  } catch (...) {
    end();
    throw;
  }
}

Pipeline::~Pipeline() { end(); }

void Pipeline::end() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (auto& worker : workers_) worker->wakes.notify_all();
    room_.notify_all();
  }
  for (auto& worker : workers_)
    if (worker->thread.joinable()) worker->thread.join();
}

void Pipeline::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(error);
  ++events_;
  planner_wakes_.notify_all();
  room_.notify_all();
  for (auto& worker : workers_) worker->wakes.notify_all();
}

// --- receiving

void Pipeline::take(Frame&& frame) {
  switch (frame.type) {
    case MessageType::entries: {
      listing_hasher_.update(frame.payload);
      const std::lock_guard lock(mutex_);
      if (listing_end_) reject_client("sent entries after the end of its listing");
      if (listing_.size() >= limits::listing_window) reject_client("sent more of its listing than it had credit for");
      listing_.push_back(std::move(frame.payload));
      return wake_planner();
    }
    case MessageType::problem: {
      auto problem = get_problem(frame.payload);
      std::unique_lock lock(mutex_);
      if (listing_end_) reject_client("reported a problem after the end of its listing");
      if (listing_problems_ > 0 && problem.path == last_problem_) reject_client("reported a problem with /" + escape(problem.path) + " twice");
      if (++listing_problems_ > limits::listing_problems)
        throw Error(ExitStatus::protocol, "the client lists more than " + std::to_string(limits::listing_problems) + " problems", "look into its filesystems, or exclude what cannot be read");
      last_problem_ = problem.path;
      // The planner takes them whatever it waits for: so this ends.
      room_.wait(lock, [&] { return failure_ || ending_ || problem_bytes_ < limits::queued_problems; });
      if (failure_) std::rethrow_exception(failure_);
      ++progress_.problems;
      problem_bytes_ += sizeof(Problem) + problem.path.size() + problem.tried.size();
      problems_.push_back({std::move(problem.path), std::move(problem.tried), static_cast<int>(problem.code), true});
      return wake_planner();
    }
    case MessageType::listed: {
      const Listed listed = get_listed(frame.payload);
      if (listed.digest != listing_hasher_.finish()) reject_client("closed its listing with a digest that does not fit what it sent");
      const std::lock_guard lock(mutex_);
      if (listing_end_) reject_client("ended its listing twice");
      if (listed.problems != listing_problems_) reject_client("closed its listing with a count of problems that does not fit what it sent");
      listing_end_ = listed.entries;
      return wake_planner();
    }
    default: break;
  }
  Job job;
  job.id = id_of(frame.payload);
  {
    const std::lock_guard lock(mutex_);
    const auto found = flights_.find(job.id);
    if (found == flights_.end()) reject_client("answered a request that was not made or was answered already");
    job.flight = &found->second;
    // One closing answer a flight: what comes after it has no flight any more.
    if (frame.type == MessageType::file || frame.type == MessageType::end || frame.type == MessageType::failed) {
      if (job.flight->answered) reject_client("answered a request twice");
      job.flight->answered = true;
    } else if (job.flight->answered) {
      reject_client("sent content after its closing answer");
    }
  }
  job.frame = std::move(frame);
  // Requests of one message lie near one another: two workers in one folder would wait for its lock.
  enqueue(*workers_[job.id / limits::fetch_batch % workers_.size()], std::move(job));
}

void Pipeline::enqueue(Worker& worker, Job job) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return failure_ || ending_ || (worker.bytes < limits::queued_bytes && worker.jobs.size() < limits::queued_jobs); });
  if (failure_) std::rethrow_exception(failure_);
  if (ending_) return;
  worker.bytes += job.frame.payload.size();
  worker.jobs.push_back(std::move(job));
  if (worker.jobs.size() == 1) worker.wakes.notify_one();
}

// --- workers

void Pipeline::work(Worker& worker) {
  try {
    for (;;) {
      std::deque<Job> jobs;
      {
        std::unique_lock lock(mutex_);
        worker.wakes.wait(lock, [&] { return ending_ || failure_ || !worker.jobs.empty(); });
        if (ending_ || failure_) return;
        jobs.swap(worker.jobs);
        worker.bytes = 0;
        room_.notify_all();
      }
      for (; !jobs.empty(); jobs.pop_front()) {
        check_on();
        Job& job = jobs.front();
        worker.place = job.id / limits::fetch_batch / worker_count % worker.builders.size();
        if (job.links != nullptr) link_batch(worker, *job.links);
        else if (job.leader) follow_leader(worker, *job.leader, job.follower);
        else take_file_frame(worker, job.frame, job.id, *job.flight);
      }
    }
  } catch (...) {
    fail(std::current_exception());
  }
}

void Pipeline::link_batch(Worker& worker, EntryBatch& batch) {
  std::uint64_t linked = 0;
  for (Item& item : batch.items) {
    if (!item.link) continue;
    worker.make_room(item);
    LinkResult result = worker.builder().link_previous(item.entry, item.link_from);
    if (result == LinkResult::linked) {
      ++linked;
      continue;
    }
    if (result == LinkResult::copy_needed && worker.builder().copy_previous(item.entry, item.link_from) == LinkResult::linked) {
      ++new_files_;
      new_bytes_ += item.entry.stat.size;
      continue;
    }
    // What should be stored is not there, or is not what its manifest says: the client still has it.
    item.link = false;
    Flight flight;
    flight.batch = &batch;
    flight.item = &item;
    flight.offer_known = false;
    const std::lock_guard lock(mutex_);
    ++batch.pending;
    retries_.push_back(std::move(flight));
    wake_planner();
  }
  progress_.linked += linked;
  settle(batch);
}

void Pipeline::take_file_frame(Worker& worker, Frame& frame, std::uint32_t id, Flight& flight) {
  const auto sink = worker.sinks.find(id);
  auto begun = [&]() -> FileSink& {
    if (sink == worker.sinks.end()) reject_client("sent content before it began a file");
    return sink->second;
  };
  switch (frame.type) {
    case MessageType::begin:
      static_cast<void>(get_id(frame.payload));
      if (sink != worker.sinks.end() || flight.item->entry.stat.type != FileType::regular) reject_client("began a file that it should not");
      worker.make_room(*flight.item);
      worker.sinks.emplace(id, worker.builder().create_file(flight.item->entry.path, takes_known(flight) ? std::string_view(flight.before->path) : std::string_view())).first->second.call_between([this] { check_on(); });
      return;
    case MessageType::data: {
      const Data data = get_data(frame.payload);
      // What comes again after a restart is no progress.
      flight.taken += data.bytes.size();
      if (flight.taken > flight.most_taken) progress_.received_bytes += flight.taken - std::exchange(flight.most_taken, flight.taken);
      FileSink& file = begun();
      charge(flight, data.bytes.size() + (data.offset > file.position() ? data.offset - file.position() : 0));
      return file.data(data.offset, data.bytes);
    }
    case MessageType::keep: {
      const Keep keep = get_keep(frame.payload);
      if (!takes_known(flight) || keep.offset > flight.before->stat.size || keep.length > flight.before->stat.size - keep.offset)
        reject_client("keeps content that was never offered");
      FileSink& file = begun();
      charge(flight, keep.length + (keep.offset > file.position() ? keep.offset - file.position() : 0));
      try {
        file.keep(keep.offset, keep.length);
        progress_.kept_bytes += keep.length;
        return;
      } catch (const PredecessorDamaged&) {
        flight.predecessor_damaged = true;  // the rest of its answer is void; then it is fetched whole
        return;
      }
    }
    case MessageType::restart:
      static_cast<void>(get_id(frame.payload));
      if (++flight.restarts > limits::restarts) reject_client("began /" + escape(flight.item->entry.path) + " anew more than twice");
      flight.taken = 0;
      refund(flight);
      return begun().restart();
    case MessageType::file:
    case MessageType::end: return finish_file(worker, frame.payload, id, flight);
    case MessageType::failed: return fail_file(worker, frame.payload, id, flight);
    default: reject_client("sent a message that is not an answer to a fetch");
  }
}

void Pipeline::finish_file(Worker& worker, std::string_view payload, std::uint32_t id, Flight& flight) {
  FetchedFile file = get_fetched_file(payload);
  Entry& entry = flight.item->entry;
  if (file.stat.type != entry.stat.type) reject_client("answered with another type than it listed");
  const bool streamed = worker.sinks.contains(id);
  if ((file.content == Content::streamed) != streamed && file.stat.type == FileType::regular && !(streamed && file.content == Content::same))
    reject_client("closed a file that it did not begin");
  if (flight.predecessor_damaged) return retry_whole(worker, id, flight);
  if (file.stat.type == FileType::regular && file.stat.size > flight.charged) charge(flight, file.stat.size - flight.charged);
  entry.stat = file.stat;
  entry.flags = file.flags;
  entry.details = std::move(file.details);
  switch (file.stat.type) {
    case FileType::regular:
      if (!place_regular(worker, file, id, flight)) return retry_whole(worker, id, flight);
      break;
    case FileType::symlink:
      if (entry.details.link_target.empty()) reject_client("sent a symbolic link without a target");
      worker.make_room(*flight.item);
      worker.builder().make_symlink(entry.path, entry.details.link_target, entry.stat.mtime);
      break;
    default: break;  // a folder was made when it was listed; all others are entries only
  }
  land(worker, id, flight);
}

// False: what is stored of the dataset before is not what it should be.
bool Pipeline::place_regular(Worker& worker, const FetchedFile& file, std::uint32_t id, Flight& flight) {
  Entry& entry = flight.item->entry;
  const std::string& path = entry.path;
  entry.digest = file.digest;
  const bool known = takes_known(flight) && *flight.before->digest == *file.digest && flight.before->stat.size == file.stat.size;

  if (file.content == Content::same) {
    if (!known) reject_client("claims content that was never offered");
    if (worker.sinks.erase(id) > 0) worker.builder().remove_file(path);
    return take_over(worker, *flight.item, *flight.before);
  }
  Digest digest;
  if (file.content == Content::here) {
    worker.make_room(*flight.item);
    FileSink sink = worker.builder().create_file(path, {});
    if (!file.bytes.empty()) sink.data(0, file.bytes);
    progress_.received_bytes += file.bytes.size();
    digest = sink.finish(file.stat.size, file.stat.mtime);
  } else {
    FileSink sink = std::move(worker.sinks.at(id));
    worker.sinks.erase(id);
    const bool is_before = known && (sink.kept_all() || flight.before->stat.mtime == file.stat.mtime);
    digest = sink.kept_all() && is_before ? sink.discard(file.stat.size) : sink.finish(file.stat.size, file.stat.mtime);
    if (digest != *file.digest && takes_known(flight)) return false;  // it kept what is damaged here
    if (digest == *file.digest && is_before) {
      worker.builder().remove_file(path);
      return take_over(worker, *flight.item, *flight.before);
    }
  }
  if (digest != *file.digest) reject_client("sent content of /" + escape(path) + " that does not fit the digest it sent with it");
  ++new_files_;
  new_bytes_ += file.stat.size;
  ++progress_.received_files;
  return true;
}

// The content is that of the dataset before: a link where the mtime is the same too, else a copy that carries the new one, since a
// stored inode is never modified. A recycled tree may have that link already.
bool Pipeline::take_over(Worker& worker, Item& item, const Entry& before) {
  const Entry& entry = item.entry;
  if (item.occupied && before.path == entry.path && before.stat.mtime == entry.stat.mtime && worker.builder().is_stored(before)) {
    item.occupied = false;
    ++progress_.linked;
    return true;
  }
  worker.make_room(item);
  LinkResult result = LinkResult::copy_needed;
  if (before.stat.mtime == entry.stat.mtime) result = worker.builder().link_previous(entry, before.path);
  if (result == LinkResult::linked) {
    ++progress_.linked;
    return true;
  }
  if (result == LinkResult::missing || worker.builder().copy_previous(entry, before.path) != LinkResult::linked) return false;
  ++new_files_;
  new_bytes_ += entry.stat.size;
  return true;
}

void Pipeline::retry_whole(Worker& worker, std::uint32_t id, Flight& flight) {
  worker.sinks.erase(id);
  refund(flight);
  worker.builder().remove_file(flight.item->entry.path);
  flight.item->occupied = false;
  const std::lock_guard lock(mutex_);
  Flight again = std::move(flight);
  again.before.reset();
  again.offer_known = again.answered = again.predecessor_damaged = false;
  again.restarts = 0;
  again.taken = 0;
  flights_.erase(id);
  retries_.push_back(std::move(again));
  wake_planner();
}

void Pipeline::fail_file(Worker& worker, std::string_view payload, std::uint32_t id, Flight& flight) {
  const FetchFailed failed = get_fetch_failed(payload);
  Entry& entry = flight.item->entry;
  if (worker.sinks.erase(id) > 0) worker.builder().remove_file(entry.path);
  worker.make_room(*flight.item);
  refund(flight);
  if (has_vanished(failed.code)) {
    // A folder stays as it was listed: what was listed in it may be stored already.
    if (entry.stat.type == FileType::folder) entry.flags = racy;
    else flight.item->dropped = true;
  } else {
    entry.flags = unread;
    entry.details = {};
    entry.digest.reset();
    const std::lock_guard lock(mutex_);
    ++progress_.problems;
    problems_.push_back({entry.path, failed.tried, static_cast<int>(failed.code), false});
  }
  land(worker, id, flight);
}

void Pipeline::follow_leader(Worker& worker, const Entry& leader, Flight& flight) {
  worker.make_room(*flight.item);
  Entry& entry = flight.item->entry;
  entry.stat = leader.stat;
  entry.details = leader.details;
  entry.digest = leader.digest;
  entry.flags = leader.flags;
  worker.builder().link_within(leader.path, entry);
  ++progress_.linked;
  add_details(*flight.batch, entry);
  settle(*flight.batch);
}

// The item is settled; if it leads, so are its followers.
void Pipeline::land(Worker& worker, std::uint32_t id, Flight& flight) {
  std::vector<Flight> followers;
  const Entry& entry = flight.item->entry;
  const bool good = !flight.item->dropped && !(entry.flags & unread);
  if (flight.leads) {
    const std::lock_guard lock(mutex_);
    const auto group = groups_.find(*flight.leads);
    followers = std::move(group->second.waiting);
    group->second.waiting.clear();
    if (!good || group->second.seen >= entry.stat.links || !remember(group->second, group->second.leader, entry)) forget(group);
    if (!good) {
      for (Flight& follower : followers) retries_.push_back(std::move(follower));
      followers.clear();
      wake_planner();
    }
  }
  for (Flight& follower : followers) follow_leader(worker, entry, follower);
  EntryBatch& batch = *flight.batch;
  add_details(batch, entry);
  const std::lock_guard lock(mutex_);
  flights_.erase(id);
  // The planner has something to do when it can write a batch, or send a request that is worth a message.
  if (--batch.pending == 0 || flights_.size() % limits::fetch_batch == 0) wake_planner();
}

// What comes for a file is counted before anything is done with it: a hole of EiB is a message of a few bytes.
void Pipeline::charge(Flight& flight, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > max_bytes_ - content_bytes_)
    throw Error(ExitStatus::protocol, "the client's files are larger than " + std::to_string(max_bytes_) + " bytes together", "raise 'max_bytes' of the client if that is meant");
  content_bytes_ += bytes;
  flight.charged += bytes;
}

// Attributes that an answer has brought stay in the line until the batches before theirs are written.
void Pipeline::add_details(EntryBatch& batch, const Entry& entry) {
  const std::size_t bytes = bytes_of(entry.details);
  const std::lock_guard lock(mutex_);
  batch.bytes += bytes;
  line_bytes_ += bytes;
  if (line_bytes_ > limits::most_line_bytes)
    throw Error(ExitStatus::protocol, "the attributes of files that wait for others before them take more than 512 MiB", "exclude the files with very large ACLs or extended attributes, or check that it is a Syncropy of a fitting version");
}

bool Pipeline::remember(Group& group, std::optional<Entry>& place, const Entry& entry) {
  const std::size_t bytes = sizeof(Group) + bytes_of(entry);
  if (bytes > limits::group_bytes - group_bytes_) return false;
  group_bytes_ += bytes;
  group.bytes += bytes;
  place = entry;
  return true;
}

void Pipeline::forget(std::unordered_map<InodeKey, Group, InodeKeyHash>::iterator group) {
  group_bytes_ -= group->second.bytes;
  groups_.erase(group);
}

void Pipeline::refund(Flight& flight) {
  const std::lock_guard lock(mutex_);
  content_bytes_ -= std::exchange(flight.charged, 0);
}

// For long work: throws once there is nobody left whom it is for.
void Pipeline::check_on() {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  if (ending_) throw Error(ExitStatus::internal, "the run has ended");
}

void Pipeline::settle(EntryBatch& batch) {
  const std::lock_guard lock(mutex_);
  if (--batch.pending == 0) wake_planner();
}

void Pipeline::wake_planner() {
  ++events_;
  planner_wakes_.notify_one();
}

// --- planning

void Pipeline::wait(std::uint64_t seen) {
  std::unique_lock lock(mutex_);
  planner_wakes_.wait(lock, [&] { return failure_ || events_ != seen; });
  if (failure_) std::rethrow_exception(failure_);
}

std::uint64_t Pipeline::events() {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  return events_;
}

bool Pipeline::next_listing(std::string& payload) {
  const std::lock_guard lock(mutex_);
  if (listing_.empty()) return false;
  payload = std::move(listing_.front());
  listing_.pop_front();
  return true;
}

bool Pipeline::has_room() {
  const std::lock_guard lock(mutex_);
  return line_items_ < limits::line_items && line_bytes_ < limits::line_bytes;
}

const EntryBatch* Pipeline::front() {
  const std::lock_guard lock(mutex_);
  return line_.empty() ? nullptr : line_.front().get();
}

std::optional<std::uint64_t> Pipeline::listing_end() {
  const std::lock_guard lock(mutex_);
  if (!listing_end_ || !listing_.empty()) return std::nullopt;
  return listing_end_;
}

std::optional<Flight> Pipeline::next_retry() {
  const std::lock_guard lock(mutex_);
  if (retries_.empty()) return std::nullopt;
  Flight flight = std::move(retries_.front());
  retries_.pop_front();
  return flight;
}

std::size_t Pipeline::room_for_fetches() {
  const std::lock_guard lock(mutex_);
  return flights_.size() >= limits::fetch_window ? 0 : limits::fetch_window - flights_.size();
}

std::uint32_t Pipeline::launch(Flight flight) {
  const std::lock_guard lock(mutex_);
  while (flights_.contains(next_id_)) ++next_id_;
  flights_.emplace(next_id_, std::move(flight));
  return next_id_++;
}

Pipeline::Part Pipeline::join_group(Flight& flight, std::uint64_t filesystem, const Entry* before) {
  Item& item = *flight.item;
  const Stat stat = item.entry.stat;
  const InodeKey key{filesystem, stat.inode};
  Job job;
  {
    const std::lock_guard lock(mutex_);
    const auto [found, is_new] = groups_.try_emplace(key);
    Group& group = found->second;
    if (!is_new) ++group.seen;
    const bool all_seen = group.seen >= stat.links;
    if (is_new && before != nullptr) {
      if (!remember(group, group.linked, *before)) forget(found);
      return Part::linked;
    }
    if (is_new && group_bytes_ > limits::group_bytes - sizeof(Group)) {
      forget(found);
      return Part::leads;
    }
    if (is_new) {
      group.bytes = sizeof(Group);
      group_bytes_ += group.bytes;
      flight.leads = key;
      return Part::leads;
    }
    if (group.linked) {
      const bool same = same_listing(group.linked->stat, stat);
      if (same && before == nullptr) {
        std::string path = std::move(item.entry.path);
        item.entry = *group.linked;
        item.link_from = std::exchange(item.entry.path, std::move(path));
      }
      if (all_seen) forget(found);
      // An inode that changed between two of its names being listed: this one is fetched by itself, the next run brings them together.
      return same ? Part::linked : Part::leads;
    }
    ++flight.batch->pending;
    if (!group.leader) {
      group.waiting.push_back(std::move(flight));
      return Part::follows;
    }
    job.leader = group.leader;
    if (all_seen) forget(found);
  }
  job.follower = std::move(flight);
  enqueue(*workers_[key.inode % workers_.size()], std::move(job));
  return Part::follows;
}

EntryBatch& Pipeline::open_batch() {
  auto batch = std::make_unique<EntryBatch>();
  batch->items.reserve(limits::batch_items);
  const std::lock_guard lock(mutex_);
  line_.push_back(std::move(batch));
  line_items_ += limits::batch_items;
  return *line_.back();
}

void Pipeline::add_pending(EntryBatch& batch) {
  const std::lock_guard lock(mutex_);
  ++batch.pending;
}

void Pipeline::seal(EntryBatch& batch, bool has_links, std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    batch.bytes += bytes;
    line_bytes_ += bytes;
  }
  if (!has_links) return settle(batch);
  // The planner's own count passes on to the job.
  Job job;
  job.links = &batch;
  next_link_worker_ = (next_link_worker_ + 1) % workers_.size();
  enqueue(*workers_[next_link_worker_], std::move(job));
}

std::unique_ptr<EntryBatch> Pipeline::take_front() {
  const std::lock_guard lock(mutex_);
  if (line_.empty() || line_.front()->pending > 0) return nullptr;
  std::unique_ptr<EntryBatch> batch = std::move(line_.front());
  line_.pop_front();
  line_items_ -= limits::batch_items;
  line_bytes_ -= batch->bytes;
  return batch;
}

bool Pipeline::is_idle() {
  const std::lock_guard lock(mutex_);
  return line_.empty() && flights_.empty() && retries_.empty();
}

std::vector<Pipeline::Problem> Pipeline::take_problems() {
  const std::lock_guard lock(mutex_);
  problem_bytes_ = 0;
  room_.notify_all();
  return std::exchange(problems_, {});
}

}  // namespace syncropy

#include "restore/round.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "model/codec.hpp"
#include "model/entry.hpp"
#include "model/limits.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "wire/messages.hpp"
#include "wire/reject.hpp"

namespace syncropy {
namespace {

constexpr std::size_t worker_count = 2;
constexpr std::size_t queued_bytes = 8U << 20;    // content that waits for one worker
constexpr std::size_t queued_jobs = 4'096;
constexpr std::size_t answer_bytes = 16U << 10;   // outcomes are sent at about this size
constexpr std::uint32_t neighbours = 64;          // ids that go to one worker: they tend to share a folder

RestoreOutcome failure(const char* what, int code) { return {RestoreResult::failed, {{what, static_cast<std::uint32_t>(code)}}}; }

bool has_other_names(const Entry& entry) { return entry.stat.type == FileType::regular && entry.stat.links > 1; }

bool is_in_place(RestoreResult result) {
  return result == RestoreResult::created || result == RestoreResult::replaced || result == RestoreResult::adjusted || result == RestoreResult::same;
}

}  // namespace

RestoreResult decide(const Found& found, const Entry& entry, const RestoreRules& rules) {
  switch (found.state) {
    case Found::State::absent: return RestoreResult::created;
    case Found::State::same: return RestoreResult::same;
    case Found::State::blocked: return RestoreResult::failed;
    case Found::State::attributes:
    case Found::State::different: break;
  }
  const RestoreResult change = found.state == Found::State::attributes ? RestoreResult::adjusted : RestoreResult::replaced;
  switch (rules.existing) {
    case Existing::fail: return RestoreResult::conflict;
    case Existing::skip: return RestoreResult::kept;
    case Existing::replace: return change;
    case Existing::newer: return found.stat && found.stat->mtime < entry.stat.mtime ? change : RestoreResult::kept;
  }
  return RestoreResult::kept;
}

RestoreRound::RestoreRound(Fd target, bool exists, RestoreRules rules, RestoreBounds bounds, FrameWriter& out, std::function<void(std::exception_ptr)> give_up)
    : rules_(std::move(rules)), target_(std::move(target)), exists_(exists), bounds_(std::move(bounds)), excludes_(rules_.excludes, {}), out_(out),
      give_up_(std::move(give_up)), placer_(target_, rules_) {
  for (std::size_t i = 0; i < worker_count; ++i) workers_.push_back(std::make_unique<Worker>(target_, rules_));
  for (auto& worker : workers_) worker->thread = std::thread([this, &worker = *worker] { work(worker); });
}

RestoreRound::~RestoreRound() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (auto& worker : workers_) worker->wakes.notify_all();
    room_.notify_all();
  }
  for (auto& worker : workers_) worker->thread.join();
}

// --- the calling thread

void RestoreRound::place(std::string_view payload) {
  ByteReader in(payload, ExitStatus::protocol, "the server's entries");
  std::string previous;
  while (!in.at_end()) {
    PlacedEntry placed = get_placed_entry(in, previous);
    previous = placed.entry.path;
    check_order(placed);
    leave_to(parent_of(placed.entry.path));
    const std::string& path = placed.entry.path;
    Level* above = levels_.empty() ? nullptr : &levels_.back();
    if (above != nullptr && above->clears) above->names.emplace_back(name_of(path));
    const bool is_folder = placed.entry.stat.type == FileType::folder;
    const Reach reached = reach(path);
    if (above != nullptr && above->blocked) {
      if (is_folder) levels_.push_back(blocked_level(path, *above->blocked));
      answer(placed.id, *levels_.back().blocked);
    } else if (reached == Reach::out || (reached == Reach::leads && !is_folder)) {
      const RestoreOutcome refused = failure("policy", EACCES);
      if (is_folder) levels_.push_back(blocked_level(path, refused));
      answer(placed.id, refused);
    } else if (is_folder) {
      open_folder(std::move(placed), reached == Reach::leads);
    } else {
      if (pending_ >= limits::place_window) reject_server("sent more entries at once than its window");
      ++pending_;
      auto item = std::make_unique<Item>();
      item->id = placed.id;
      item->entry = std::move(placed.entry);
      item->known_absent = above != nullptr && above->is_new;
      Worker* worker = &worker_of(item->id);
      if (has_other_names(item->entry)) {
        worker = group_workers_.try_emplace({item->entry.stat.filesystem, item->entry.stat.inode}, worker).first->second;
        rerouted_[item->id] = worker;
      }
      Job job;
      job.item = std::move(item);
      enqueue(*worker, std::move(job));
    }
  }
  out_.flush();
}

RestoreRound::Level RestoreRound::blocked_level(const std::string& path, const RestoreOutcome& outcome) {
  Level level;
  level.path = path;
  level.blocked = outcome;
  return level;
}

void RestoreRound::check_order(const PlacedEntry& placed) {
  const std::string& path = placed.entry.path;
  if (!any_) {
    if (!path.empty() || placed.entry.stat.type != FileType::folder) reject_server("began with something else than the root folder");
    any_ = true;
    return;
  }
  if (compare_paths(last_path_, path) >= 0) reject_server("sent /" + escape(path) + " out of order");
  last_path_ = path;
  const std::string_view parent = parent_of(path);
  if (std::none_of(levels_.begin(), levels_.end(), [&](const Level& level) { return level.path == parent; })) reject_server("sent /" + escape(path) + " without its folder");
}

RestoreRound::Reach RestoreRound::reach(std::string_view path) const {
  for (const std::string& denied : bounds_.denied)
    if (is_at_or_below(path, denied)) return Reach::out;
  Reach reached = Reach::out;
  for (const std::string& allowed : bounds_.allowed) {
    if (is_at_or_below(path, allowed)) return Reach::allowed;
    if (is_at_or_below(allowed, path)) reached = Reach::leads;
  }
  return reached;
}

void RestoreRound::leave_to(std::string_view path) {
  while (!levels_.empty() && !is_at_or_below(path, levels_.back().path)) {
    if (levels_.back().clears) clear(levels_.back());
    levels_.pop_back();
  }
}

// What is in a folder and was not named goes, unless a pattern protects it.
void RestoreRound::clear(const Level& level) {
  if (level.is_mount && level.names.empty()) return;  // what is mounted here was not backed up: /proc, another disk
  for (const std::string& name : placer_.others_in(level.path, level.names)) {
    const std::string path = level.path.empty() ? name : level.path + "/" + name;
    if (excludes_.match(level.position, name.c_str(), true)) continue;
    if (reach(path) != Reach::allowed) continue;
    if (std::any_of(bounds_.denied.begin(), bounds_.denied.end(), [&](const std::string& denied) { return is_at_or_below(denied, path); })) continue;
    Removed removed{path, 0};
    Shortfall shortfall;
    if (!rules_.dry_run && !placer_.remove(path, shortfall)) removed.code = shortfall.code == 0 ? EIO : shortfall.code;
    ByteWriter message;
    put(message, removed);
    out_.send(MessageType::removed, message.view());
  }
}

void RestoreRound::open_folder(PlacedEntry&& placed, bool must_exist) {
  const Entry& entry = placed.entry;
  const bool on_the_way = placed.on_the_way || must_exist;
  Level level;
  level.path = entry.path;
  const bool above_is_new = !levels_.empty() && levels_.back().is_new;
  RestoreResult result = RestoreResult::created;
  if (entry.path.empty()) {
    result = exists_ ? RestoreResult::same : RestoreResult::created;
    level.filesystem = stat_of(target_.get()).filesystem;
  } else if (!above_is_new) {
    const Found found = placer_.examine(entry);
    if (found.stat && found.stat->type == FileType::folder) {
      result = RestoreResult::same;
      level.filesystem = found.stat->filesystem;
      level.is_mount = level.filesystem != levels_.back().filesystem;
    } else if (must_exist) {
      level.blocked = failure("policy", EACCES);
    } else if (on_the_way && found.state != Found::State::absent) {
      level.blocked = failure("folder", ENOTDIR);
    } else {
      result = decide(found, entry, rules_);
      if (result == RestoreResult::failed) level.blocked = {result, {found.shortfall}};
      else if (result == RestoreResult::conflict || result == RestoreResult::kept) level.blocked = {result, {}};
    }
  }
  if (!level.blocked && !rules_.dry_run && !entry.path.empty()) {
    const RestoreOutcome opened = placer_.open_folder(entry, result == RestoreResult::replaced);
    if (opened.result == RestoreResult::failed) level.blocked = opened;
  }
  if (level.blocked) {
    answer(placed.id, *level.blocked);
    levels_.push_back(std::move(level));
    return;
  }
  level.is_new = result != RestoreResult::same;
  // What could not be read when the backup was made is not there for another reason.
  level.clears = rules_.remove_others && !on_the_way && !level.is_new && (entry.flags & unread) == 0 &&
                 std::any_of(rules_.whole.begin(), rules_.whole.end(), [&](const std::string& whole) { return is_at_or_below(entry.path, whole); });
  if (rules_.remove_others) {
    level.position = entry.path.empty() || levels_.empty() ? excludes_.at_root() : excludes_.below(levels_.back().position, std::string(name_of(entry.path)).c_str());
  }
  const bool stays = !level.is_new && (on_the_way || rules_.existing == Existing::skip);
  if (stays) {
    answer(placed.id, {on_the_way ? RestoreResult::same : RestoreResult::kept, {}});
  } else {
    if (folders_.size() >= limits::restore_folders) reject_server("restores more than " + std::to_string(limits::restore_folders) + " folders at once");
    ByteWriter encoded;
    encoded.put_unsigned(placed.id);
    encoded.put_byte(result == RestoreResult::same ? 0 : result == RestoreResult::created ? 1 : 2);
    put_entry(encoded, entry, {});
    folders_.push_back(encoded.take());
  }
  levels_.push_back(std::move(level));
}

void RestoreRound::answer(std::uint32_t id, RestoreOutcome outcome) {
  ++entries_;
  ByteWriter message;
  put(message, EntryOutcome{id, std::move(outcome)});
  out_.send(MessageType::outcome, message.view());
}

RestoreRound::Worker& RestoreRound::worker_of(std::uint32_t id) {
  const auto found = rerouted_.find(id);
  return found != rerouted_.end() ? *found->second : *workers_[id / neighbours % workers_.size()];
}

void RestoreRound::content(Frame&& frame) {
  const std::uint32_t id = get_data(frame.payload).id;
  Job job;
  job.content = std::move(frame);
  enqueue(worker_of(id), std::move(job));
}

void RestoreRound::content_end(std::string_view payload) {
  Job job;
  job.end = get_content_end(payload);
  Worker& worker = worker_of(job.end->id);
  enqueue(worker, std::move(job));
}

void RestoreRound::enqueue(Worker& worker, Job job) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return ending_ || (worker.bytes < queued_bytes && worker.jobs.size() < queued_jobs); });
  worker.bytes += job.content.payload.size();
  worker.jobs.push_back(std::move(job));
  if (worker.jobs.size() == 1) worker.wakes.notify_one();
}

void RestoreRound::finish() {
  if (pending_ > 0) reject_server("ended a restore before all of it was answered");
  while (!levels_.empty()) {
    if (levels_.back().clears) clear(levels_.back());
    levels_.pop_back();
  }
  // The deepest first: a folder may forbid what is to be done in it.
  for (; !folders_.empty(); folders_.pop_back()) {
    ByteReader in(folders_.back(), ExitStatus::internal, "a folder of this restore");
    const auto id = static_cast<std::uint32_t>(in.unsigned_at_most(UINT32_MAX));
    const std::uint8_t made = in.byte();
    const Entry entry = get_entry(in, {});
    RestoreOutcome outcome;
    if (rules_.dry_run) {
      const Found found = made == 0 ? placer_.examine(entry) : Found{};
      outcome.result = found.state == Found::State::same ? RestoreResult::same : RestoreResult::adjusted;
    } else {
      outcome = placer_.finish_folder(entry);
    }
    if (made != 0 && outcome.result != RestoreResult::failed) outcome.result = made == 1 ? RestoreResult::created : RestoreResult::replaced;
    answer(id, std::move(outcome));
  }
  if (!rules_.dry_run && ::syncfs(target_.get()) != 0) throw_errno(ExitStatus::io, "sync the filesystem of", "/" + rules_.target);
  out_.send(MessageType::finished, {});
  out_.flush();
}

// --- workers

void RestoreRound::work(Worker& worker) {
  try {
    for (;;) {
      std::deque<Job> jobs;
      {
        std::unique_lock lock(mutex_);
        if (worker.jobs.empty() && !ending_) {
          lock.unlock();
          send_answers(worker);
          lock.lock();
        }
        worker.wakes.wait(lock, [&] { return ending_ || !worker.jobs.empty(); });
        if (ending_) return;
        jobs.swap(worker.jobs);
        worker.bytes = 0;
        room_.notify_all();
      }
      for (; !jobs.empty(); jobs.pop_front()) {
        Job& job = jobs.front();
        if (job.item) process(worker, std::move(job.item));
        else if (job.end) receive_end(worker, *job.end);
        else receive(worker, job.content);
      }
    }
  } catch (...) {
    give_up_(std::current_exception());
  }
}

void RestoreRound::send_answers(Worker& worker) {
  if (!worker.wants.empty()) {
    ByteWriter message;
    put_wants(message, worker.wants);
    out_.send(MessageType::want, message.view());
    worker.wants.clear();
  }
  if (worker.outcomes.size() > 0) {
    out_.send(MessageType::outcome, worker.outcomes.view());
    worker.outcomes.clear();
  }
  out_.flush();
}

void RestoreRound::answer(Worker& worker, const Item& item, RestoreOutcome outcome) {
  put(worker.outcomes, EntryOutcome{item.id, std::move(outcome)});
  --pending_;
  if (worker.outcomes.size() >= answer_bytes) send_answers(worker);
}

void RestoreRound::process(Worker& worker, std::unique_ptr<Item> item) {
  if (!has_other_names(item->entry)) return place_alone(worker, std::move(item));
  const auto [found, is_new] = worker.groups.try_emplace({item->entry.stat.filesystem, item->entry.stat.inode});
  Group& group = found->second;
  if (is_new) return place_alone(worker, std::move(item));
  ++group.seen;
  if (!group.is_settled) {
    group.waiting.push_back(std::move(item));
  } else if (group.leader.empty()) {
    group.is_settled = false;  // this one leads
    place_alone(worker, std::move(item));
  } else {
    place_link(worker, *item, group.leader);
    if (group.seen >= item->entry.stat.links) worker.groups.erase(found);
  }
}

void RestoreRound::place_alone(Worker& worker, std::unique_ptr<Item> item) {
  const Entry& entry = item->entry;
  const Found found = item->known_absent ? Found{} : worker.placer.examine(entry);
  RestoreOutcome outcome;
  outcome.result = decide(found, entry, rules_);
  const bool over = outcome.result == RestoreResult::replaced;
  if (outcome.result == RestoreResult::failed) {
    outcome.shortfalls.push_back(found.shortfall);
  } else if (rules_.dry_run) {
    // Said, not done.
  } else if (outcome.result == RestoreResult::adjusted) {
    outcome = worker.placer.adjust(entry);
  } else if (outcome.result == RestoreResult::created || over) {
    if (entry.stat.type != FileType::regular) {
      outcome = worker.placer.place_special(entry, over);
    } else {
      const std::uint32_t id = item->id;
      Receiving& receiving = worker.receiving.emplace(id, Receiving{std::move(item), over, std::nullopt, std::nullopt}).first->second;
      if (receiving.item->entry.stat.size == 0) return receive_end(worker, {id, 0});
      worker.wants.push_back(id);
      if (worker.wants.size() >= limits::wants / 8) send_answers(worker);
      return;
    }
  }
  const bool in_place = is_in_place(outcome.result);
  answer(worker, *item, std::move(outcome));
  settle(worker, entry, in_place);
}

void RestoreRound::place_link(Worker& worker, const Item& item, const std::string& leader) {
  const Found found = item.known_absent ? Found{} : worker.placer.examine(item.entry, leader);
  RestoreOutcome outcome;
  outcome.result = decide(found, item.entry, rules_);
  if (outcome.result == RestoreResult::failed) outcome.shortfalls.push_back(found.shortfall);
  else if (outcome.result == RestoreResult::adjusted) outcome.result = RestoreResult::same;  // its leader was
  else if (!rules_.dry_run && (outcome.result == RestoreResult::created || outcome.result == RestoreResult::replaced))
    outcome = worker.placer.place_link(item.entry, leader, outcome.result == RestoreResult::replaced);
  answer(worker, item, std::move(outcome));
}

void RestoreRound::receive(Worker& worker, Frame& frame) {
  const Data data = get_data(frame.payload);
  const auto found = worker.receiving.find(data.id);
  if (found == worker.receiving.end()) reject_server("sent content that was not wanted");
  Receiving& receiving = found->second;
  if (receiving.failed) return;
  if (!receiving.aside) {
    RestoreOutcome outcome;
    std::optional<Aside> begun = worker.placer.begin(receiving.item->entry, outcome);
    if (!begun) {
      receiving.failed = std::move(outcome);
      return;
    }
    receiving.aside.emplace(std::move(*begun));
  }
  if (data.bytes.size() > receiving.item->entry.stat.size || data.offset > receiving.item->entry.stat.size - data.bytes.size())
    reject_server("sent content beyond the end of /" + escape(receiving.item->entry.path));
  receiving.aside->write(data.offset, data.bytes);
}

void RestoreRound::receive_end(Worker& worker, const ContentEnd& end) {
  const auto found = worker.receiving.find(end.id);
  if (found == worker.receiving.end()) reject_server("ended content that was not wanted");
  Receiving receiving = std::move(found->second);
  worker.receiving.erase(found);
  const Entry& entry = receiving.item->entry;
  RestoreOutcome outcome;
  if (end.code != 0) {
    outcome = failure("content", static_cast<int>(end.code));
  } else {
    if (!receiving.aside && !receiving.failed) {
      std::optional<Aside> begun = worker.placer.begin(entry, outcome);
      if (begun) receiving.aside.emplace(std::move(*begun));
      else receiving.failed = std::move(outcome);
    }
    outcome = receiving.failed ? std::move(*receiving.failed) : worker.placer.finish(std::move(*receiving.aside), entry, receiving.over);
  }
  const bool in_place = is_in_place(outcome.result);
  answer(worker, *receiving.item, std::move(outcome));
  settle(worker, entry, in_place);
}

// The name that was to lead the others of its inode is in place, or is not: then the next one leads.
void RestoreRound::settle(Worker& worker, const Entry& entry, bool is_in_place) {
  if (!has_other_names(entry)) return;
  const auto found = worker.groups.find({entry.stat.filesystem, entry.stat.inode});
  Group& group = found->second;
  std::vector<std::unique_ptr<Item>> waiting = std::move(group.waiting);
  group.waiting.clear();
  group.is_settled = true;
  group.leader = is_in_place ? entry.path : std::string();
  const std::string leader = group.leader;
  if (is_in_place && group.seen >= entry.stat.links) worker.groups.erase(found);
  if (is_in_place) {
    for (const auto& item : waiting) place_link(worker, *item, leader);
    return;
  }
  // Those that waited try again in their order: the first of them leads, the others wait for it.
  for (auto& item : waiting) {
    --group.seen;
    process(worker, std::move(item));
  }
}

}  // namespace syncropy

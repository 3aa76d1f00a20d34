#include "server/ticker.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "sd/journal.hpp"
#include "sd/service.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds interval{250};
constexpr std::chrono::milliseconds status_interval{1'000};
constexpr unsigned usual_patience = 900, most_patience = 86'400;

// As the unit's TimeoutStartSec=, which a drop-in may shorten together with this.
unsigned given_patience() {
  const char* text = std::getenv("SYNCROPY_PATIENCE");
  unsigned seconds = 0;
  if (text == nullptr) return usual_patience;
  const char* end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, seconds);
  return error == std::errc() && at == end && seconds >= 1 && seconds <= most_patience ? seconds : usual_patience;
}

}  // namespace

Ticker::Ticker(const std::deque<Progress>& clients) : clients_(clients), patience_(given_patience()), thread_([this] { tick(); }) {}

Ticker::~Ticker() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
  show_progress("");
}

// Without memory nobody is told how far it is, which is no reason to end what goes on.
void Ticker::tick() {
  try {
    tell_until_the_end();
  } catch (const std::exception&) {
  }
}

void Ticker::tell_until_the_end() {
  std::vector<Speed> speeds(clients_.size());
  std::uint64_t before = 0;
  Clock::time_point told{};
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, interval, [this] { return ended_; })) {
    const Clock::time_point now = Clock::now();
    std::uint64_t figures = 0;
    bool moves = false;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      const Progress& client = clients_[i];
      speeds[i].note(now, client.received_bytes);
      figures += client.listed + client.settled + client.received_bytes + client.kept_bytes + client.linked;
      moves = moves || ends_by_itself(client.stage.load());
    }
    const std::string text = describe(clients_, speeds);
    show_progress(text);
    if (now - told >= status_interval) {
      notify_status(text);
      told = now;
    }
    if (moves || figures != before) notify_progress(patience_);
    before = figures;
  }
}

}  // namespace syncropy

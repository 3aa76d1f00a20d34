#include "agent/connections.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "agent/session.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/format.hpp"
#include "util/unexpected.hpp"

namespace syncropy {
namespace {

using Clock = Connections::Clock;

constexpr std::size_t most_described = 4;  // sessions in the status line, of which systemd takes 4,096 bytes
constexpr std::size_t most_name_bytes = 255;
constexpr std::chrono::seconds handshake_limit{10};  // in all, until a peer has proved who it is
constexpr std::chrono::seconds leaving_limit{1};   // for one who was cut to be gone
constexpr std::chrono::seconds refusal_limit{5};     // in all, to take in that it is refused

// A TLS record of a handshake begins 0x16 0x03; a plain greeting's frame would have to be 790 bytes long for that, and none is.
bool begins_with_tls(int socket, unsigned stall_seconds) {
  unsigned char head[2] = {};
  pollfd readable{socket, POLLIN | POLLRDHUP, 0};
  const auto deadline = Clock::now() + std::chrono::seconds(stall_seconds);
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) throw Error(ExitStatus::protocol, "the peer said nothing for " + std::to_string(stall_seconds) + " seconds");
    const int ready = ::poll(&readable, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    const ssize_t got = ::recv(socket, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0) throw Error(ExitStatus::protocol, "the peer closed the connection before it said anything");
    if (got < 0 && errno != EAGAIN && errno != EINTR) throw_errno(ExitStatus::protocol, "read from", "the peer");
    if (got == 1 && head[0] == 0x16) {
      // The one byte stays readable: that no other follows is told by the hang-up alone.
      if (readable.revents & (POLLRDHUP | POLLHUP | POLLERR)) throw Error(ExitStatus::protocol, "the peer closed the connection in its first record");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    if (got > 0) return got == 2 && head[0] == 0x16 && head[1] == 0x03;
  }
}

bool is_unix_socket(int socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

}  // namespace

Connections::Connections(ServeConnection serve)
    : serve_(std::move(serve)), root_(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!root_) throw_errno(ExitStatus::io, "open", "/");
  if (!ended_) throw_errno(ExitStatus::io, "make", "an eventfd");
}

Connections::~Connections() { static_cast<void>(end_all(Clock::time_point::max())); }

void Connections::start(Socket socket, std::shared_ptr<const AgentTerms> terms) {
  const std::size_t most = terms->policy.connections;
  // Whoever has not proved anything yet makes place for who may.
  if (serving() >= most) cut_oldest_stranger();
  await_leaving(2 * most);
  if (serving() >= most || active_.size() >= 2 * most) {
    log(Priority::warning, "refused " + socket.peer + ": " + std::to_string(active_.size()) + " connections are being served already; raise 'connections' in the policy if that is meant");
    return;
  }
  Active& active = active_.emplace_back();
  try {
    active.terms = std::move(terms);
    active.socket = socket.fd.duplicate();
    active.deadline = Clock::now() + handshake_limit;
    active.thread = std::thread([this, &active, moved = std::move(socket)]() mutable {
      serve_one(active, std::move(moved));
      const std::uint64_t one = 1;
      active.done = true;
      static_cast<void>(!::write(ended_.get(), &one, sizeof one));
    });
  } catch (const std::system_error& error) {
    active_.pop_back();
    throw Error(ExitStatus::io, std::string("cannot start a thread for a connection (") + error.what() + ")", "raise the limits of the agent's unit (TasksMax=), or lower 'connections'");
  } catch (...) {
    active_.pop_back();
    throw;
  }
}

// In a burst of strangers those who were cut may not have ended when the next one comes, who may be a good one.
void Connections::await_leaving(std::size_t most) {
  const Clock::time_point deadline = Clock::now() + leaving_limit;
  while (active_.size() >= most && active_.size() > serving()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return;
    pollfd ended{ended_.get(), POLLIN, 0};
    if (::poll(&ended, 1, static_cast<int>(left)) > 0) reap();
  }
}

void Connections::reap() {
  std::uint64_t ignored;
  static_cast<void>(!::read(ended_.get(), &ignored, sizeof ignored));
  std::erase_if(active_, [](Active& active) {
    if (!active.done) return false;
    active.thread.join();
    return true;
  });
}

std::optional<Clock::time_point> Connections::cut_strangers() {
  std::optional<Clock::time_point> next;
  for (Active& active : active_) {
    const Clock::time_point deadline = active.deadline;
    if (active.stage != Stage::stranger && active.stage != Stage::refused) continue;
    if (deadline <= Clock::now()) cut(active);
    else if (!next || deadline < *next) next = deadline;
  }
  return next;
}

std::string Connections::describe_all() {
  const Clock::time_point now = Clock::now();
  std::string line;
  std::size_t known = 0;
  for (Active& active : active_) {
    if (active.stage != Stage::known) continue;
    const std::uint64_t bytes = active.activity.bytes;
    const ActivityFigures figures{active.who.size() <= most_name_bytes ? active.who : "a server with a long name", active.activity.doing.load(), active.activity.entries, active.activity.files, bytes, active.rate.look(bytes, now)};
    if (++known <= most_described) line += (line.empty() ? "" : "; ") + describe(figures);
  }
  if (known > most_described) line += "; and " + std::to_string(known - most_described) + " more";
  if (!line.empty()) return line;
  return active_.empty() ? "waiting for a server" : std::to_string(active_.size()) + " connections, none of a server that is known yet";
}

bool Connections::end_all(Clock::time_point deadline) {
  stopping_.set();
  for (const Active& active : active_) ::shutdown(active.socket.get(), SHUT_RDWR);
  while (deadline != Clock::time_point::max() && !active_.empty()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd ended{ended_.get(), POLLIN, 0};
    if (::poll(&ended, 1, static_cast<int>(left)) > 0) reap();
  }
  for (Active& active : active_) active.thread.join();
  active_.clear();
  return true;
}

std::size_t Connections::serving() const {
  return static_cast<std::size_t>(std::count_if(active_.begin(), active_.end(), [](const Active& active) { return active.stage != Stage::cut; }));
}

void Connections::cut(Active& active) {
  Stage stage = active.stage;
  if (stage == Stage::known || stage == Stage::cut || !active.stage.compare_exchange_strong(stage, Stage::cut)) return;
  ::shutdown(active.socket.get(), SHUT_RDWR);
}

// They stand in the order in which they came.
void Connections::cut_oldest_stranger() {
  for (Active& active : active_)
    if (active.stage == Stage::stranger || active.stage == Stage::refused) return cut(active);
}

// By the connection's own thread; throws when it was cut meanwhile.
void Connections::enter(Active& active, Stage next) {
  Stage stage = Stage::stranger;
  if (next == Stage::refused) active.deadline = Clock::now() + refusal_limit;
  if (!active.stage.compare_exchange_strong(stage, next)) throw Error(ExitStatus::protocol, "the peer did not prove who it is in time", "look who connects, if that was not a server of yours");
}

void Connections::serve_one(Active& active, Socket socket) {
  const std::string peer = escape(socket.peer);
  try {
    SecuredStream secured = secure(active, std::move(socket));
    active.who = name_of(secured.peer);
    enter(active, Stage::known);
    secured.stream = std::make_unique<CountedStream>(std::move(secured.stream), active.activity);
    log(Priority::info, "serving " + active.who + " from " + peer, {{"SYNCROPY_PEER", peer}, {"SYNCROPY_SERVER", active.who}});
    serve_(secured, active.terms->policy, root_, active.activity, stopping_);
    log(Priority::info, "served " + active.who + " from " + peer, {{"SYNCROPY_PEER", peer}, {"SYNCROPY_SERVER", active.who}});
  } catch (const Error& error) {
    log(Priority::warning, peer + ": " + error.line(), {{"SYNCROPY_PEER", peer}}, error.status() == ExitStatus::refused ? message_id::server_refused : std::string_view());
  } catch (const std::exception& error) {
    log(Priority::error, peer + ": " + as_error(error).line(), {{"SYNCROPY_PEER", peer}});
  }
}

SecuredStream Connections::secure(Active& active, Socket socket) {
  const AgentPolicy& policy = active.terms->policy;
  const std::optional<TlsCredentials>& tls = active.terms->tls;
  if (tls && begins_with_tls(socket.fd.get(), policy.stall_timeout)) return tls_accept(std::move(socket), *tls, policy.servers, policy.stall_timeout);
  // The permissions of a unix socket say who may connect; a loopback port is open to every user of this machine, who
  // would read with our privilege: only where that was asked for.
  const bool is_unix = is_unix_socket(socket.fd.get());
  const bool allowed = is_unix || policy.plain == PlainPolicy::any || (policy.plain == PlainPolicy::loopback && socket.local);
  const bool local = socket.local;
  SecuredStream secured = plain_stream(std::move(socket), policy.stall_timeout);
  if (!allowed) {
    Error refusal(ExitStatus::refused, std::string("this agent takes no connection without TLS") + (local ? " from loopback" : " from another machine"),
                  "set 'ssl: yes' with certificates in the server's config, or 'plain' in the agent's policy");
    enter(active, Stage::refused);
    refuse_session(secured, refusal);
    throw refusal;
  }
  return secured;
}

}  // namespace syncropy

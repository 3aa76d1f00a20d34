#include "agent/agent.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <list>
#include <optional>
#include <system_error>
#include <thread>

#include "agent/session.hpp"
#include "sd/journal.hpp"
#include "sd/service.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds handshake_limit{10};  // in all, until a peer has proved who it is
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

class Connections {
 public:
  explicit Connections(AgentSetup& setup) : setup_(setup), root_(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!root_) throw_errno(ExitStatus::io, "open", "/");
    if (!ended_) throw_errno(ExitStatus::io, "make", "an eventfd");
  }
  ~Connections() { end_all(); }
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Readable when a connection ended: reap() then.
  [[nodiscard]] int ended_fd() const { return ended_.get(); }
  [[nodiscard]] std::size_t count() const { return active_.size(); }

  void start(Socket socket) {
    // Whoever has not proved anything yet makes place for who may.
    if (serving() >= setup_.policy.connections) cut_oldest_stranger();
    if (serving() >= setup_.policy.connections || active_.size() >= 2 * std::size_t{setup_.policy.connections}) {
      log(Priority::warning, "refused " + socket.peer + ": " + std::to_string(active_.size()) + " connections are being served already; raise 'connections' in the policy if that is meant");
      return;
    }
    Active& active = active_.emplace_back();
    active.socket = socket.fd.duplicate();
    active.deadline = Clock::now() + handshake_limit;
    try {
      active.thread = std::thread([this, &active, moved = std::move(socket)]() mutable {
        serve_one(active, std::move(moved));
        const std::uint64_t one = 1;
        active.done = true;
        static_cast<void>(!::write(ended_.get(), &one, sizeof one));
      });
    } catch (const std::system_error& error) {
      active_.pop_back();
      throw Error(ExitStatus::io, std::string("cannot start a thread for a connection (") + error.what() + ")", "raise the limits of the agent's unit (TasksMax=), or lower 'connections'");
    }
  }

  void reap() {
    std::uint64_t ignored;
    static_cast<void>(!::read(ended_.get(), &ignored, sizeof ignored));
    std::erase_if(active_, [](Active& active) {
      if (!active.done) return false;
      active.thread.join();
      return true;
    });
  }

  // Cuts those who have not proved who they are in time. When to call it again; none while there are none.
  [[nodiscard]] std::optional<Clock::time_point> cut_strangers() {
    std::optional<Clock::time_point> next;
    for (Active& active : active_) {
      const Clock::time_point deadline = active.deadline;
      if (active.stage != Stage::stranger && active.stage != Stage::refused) continue;
      if (deadline <= Clock::now()) cut(active);
      else if (!next || deadline < *next) next = deadline;
    }
    return next;
  }

 private:
  enum class Stage { stranger, known, refused, cut };
  struct Active {
    std::thread thread;
    Fd socket;  // to cut it off at the end
    std::atomic<Stage> stage = Stage::stranger;
    std::atomic<Clock::time_point> deadline{};
    std::atomic<bool> done = false;
  };

  [[nodiscard]] std::size_t serving() const {
    return static_cast<std::size_t>(std::count_if(active_.begin(), active_.end(), [](const Active& active) { return active.stage != Stage::cut; }));
  }

  static void cut(Active& active) {
    Stage stage = active.stage;
    if (stage == Stage::known || stage == Stage::cut || !active.stage.compare_exchange_strong(stage, Stage::cut)) return;
    ::shutdown(active.socket.get(), SHUT_RDWR);
  }

  // They stand in the order in which they came.
  void cut_oldest_stranger() {
    for (Active& active : active_)
      if (active.stage == Stage::stranger || active.stage == Stage::refused) return cut(active);
  }

  // By the connection's own thread; throws when it was cut meanwhile.
  static void enter(Active& active, Stage next) {
    Stage stage = Stage::stranger;
    if (next == Stage::refused) active.deadline = Clock::now() + refusal_limit;
    if (!active.stage.compare_exchange_strong(stage, next)) throw Error(ExitStatus::protocol, "the peer did not prove who it is in time", "look who connects, if that was not a server of yours");
  }

  void end_all() {
    for (Active& active : active_) ::shutdown(active.socket.get(), SHUT_RDWR);
    for (Active& active : active_) active.thread.join();
    active_.clear();
  }

  void serve_one(Active& active, Socket socket) {
    const std::string peer = escape(socket.peer);
    try {
      SecuredStream secured = secure(active, std::move(socket));
      enter(active, Stage::known);
      std::string who = secured.peer.names.empty() ? secured.peer.plain : secured.peer.names.front();
      log(Priority::info, "serving " + who + " from " + peer, {{"SYNCROPY_PEER", peer}, {"SYNCROPY_SERVER", who}});
      setup_.serve_connection(secured, setup_.policy, root_);
      log(Priority::info, "served " + who + " from " + peer, {{"SYNCROPY_PEER", peer}, {"SYNCROPY_SERVER", who}});
    } catch (const Error& error) {
      log(Priority::warning, peer + ": " + error.line(), {{"SYNCROPY_PEER", peer}});
    } catch (const std::exception& error) {
      log(Priority::error, peer + ": " + escape(error.what()), {{"SYNCROPY_PEER", peer}});
    }
  }

  SecuredStream secure(Active& active, Socket socket) {
    const AgentPolicy& policy = setup_.policy;
    if (setup_.tls && begins_with_tls(socket.fd.get(), policy.stall_timeout)) return tls_accept(std::move(socket), *setup_.tls, policy.servers, policy.stall_timeout);
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

  AgentSetup& setup_;
  Fd root_, ended_;
  std::list<Active> active_;
};

Fd block_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) throw Error(ExitStatus::internal, "cannot block signals");
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) throw_errno(ExitStatus::internal, "take", "signals");
  return fd;
}

}  // namespace

void serve(std::vector<Fd> listeners, AgentSetup& setup) {
  const Fd signals = block_signals();
  Connections connections(setup);
  notify_ready();
  const bool serves_one = static_cast<bool>(setup.connection);
  if (serves_one) connections.start(adopt_connection(std::move(setup.connection)));
  Clock::time_point idle_since = Clock::now();
  const std::chrono::seconds idle_limit(setup.policy.idle_exit);
  for (;;) {
    notify_status("serving " + std::to_string(connections.count()) + " connections");
    std::vector<pollfd> polls{{signals.get(), POLLIN, 0}, {connections.ended_fd(), POLLIN, 0}};
    for (const Fd& listener : listeners) polls.push_back({listener.get(), POLLIN, 0});
    const bool may_idle = setup.exit_when_idle && setup.policy.idle_exit > 0 && connections.count() == 0;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(idle_since + idle_limit - Clock::now()).count();
    if (may_idle && left <= 0) break;  // a connection that arrives from here on waits in the socket for the next activation
    const std::optional<Clock::time_point> next = connections.cut_strangers();
    const auto until_next = next ? std::chrono::ceil<std::chrono::milliseconds>(*next - Clock::now()).count() : -1;
    const int ready = ::poll(polls.data(), polls.size(), may_idle ? static_cast<int>(left) : next ? static_cast<int>(std::max<long long>(until_next, 0)) : -1);
    if (ready < 0 && errno != EINTR) throw_errno(ExitStatus::io, "wait for", "connections");
    if (ready <= 0) continue;
    if (polls[0].revents != 0) break;
    if (polls[1].revents != 0) connections.reap();
    if (serves_one && connections.count() == 0) break;
    for (std::size_t i = 2; i < polls.size(); ++i) {
      if (polls[i].revents == 0) continue;
      try {
        if (Socket socket = accept_from(polls[i].fd); socket.fd) connections.start(std::move(socket));
      } catch (const Error& error) {
        // Out of descriptors or threads: what is being served goes on, and the next connection may find room again.
        log(Priority::error, error.line());
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
    }
    idle_since = Clock::now();
  }
  notify_stopping();
}

}  // namespace syncropy

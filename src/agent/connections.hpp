#pragma once
// The connections being served, each by a thread of its own.

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "agent/activity.hpp"
#include "config/policy.hpp"
#include "transport/tls.hpp"
#include "util/event.hpp"
#include "util/fd.hpp"

namespace syncropy {

// What connections are served by: those that begin after a reload by another than those before, which keep theirs.
struct AgentTerms {
  AgentPolicy policy;
  std::optional<TlsCredentials> tls;  // none: only plain connections
  bool handed_over = false;           // a key or certificate among it is a credential, which may be as old as this process
};

// One connection, from its greeting to its end: serve_session, or that of a restore worker.
using ServeConnection = std::function<void(SecuredStream&, const AgentPolicy&, const Fd& root, Activity&, const Event& stopping)>;

// Used by one thread. A peer has ten seconds in all to prove who it is, and one that is refused five to take that in; when all places are taken,
// the oldest that has proved nothing makes way.
class Connections {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Connections(ServeConnection serve);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Readable when a connection ended: reap() then.
  [[nodiscard]] int ended_fd() const { return ended_.get(); }
  [[nodiscard]] std::size_t count() const { return active_.size(); }
  void start(Socket socket, std::shared_ptr<const AgentTerms> terms);
  void reap();
  // Cuts those who have not proved who they are in time. When to call it again; none while there are none.
  [[nodiscard]] std::optional<Clock::time_point> cut_strangers();
  // What is being done for whom, in one line.
  [[nodiscard]] std::string describe_all();
  // Cuts them all. False when some have not ended by `deadline`: a thread may be in a system call that nothing ends.
  [[nodiscard]] bool end_all(Clock::time_point deadline);

 private:
  enum class Stage { stranger, known, refused, cut };
  struct Active {
    std::thread thread;
    std::shared_ptr<const AgentTerms> terms;
    Fd socket;        // to cut it off at the end
    std::string who;  // escaped; written before `stage` becomes known
    Activity activity;
    Rate rate;
    std::atomic<Stage> stage = Stage::stranger;
    std::atomic<Clock::time_point> deadline{};
    std::atomic<bool> done = false;
  };

  [[nodiscard]] std::size_t serving() const;
  void await_leaving(std::size_t most);
  static void cut(Active& active);
  void cut_oldest_stranger();
  static void enter(Active& active, Stage next);
  void serve_one(Active& active, Socket socket);
  [[nodiscard]] static SecuredStream secure(Active& active, Socket socket);

  ServeConnection serve_;
  Fd root_, ended_;
  Event stopping_;
  std::list<Active> active_;
};

}  // namespace syncropy

#pragma once
// The server's end of one connection to an agent.

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "config/settings.hpp"
#include "transport/tls.hpp"
#include "wire/frame.hpp"
#include "wire/messages.hpp"

namespace syncropy {

class AgentSession {
 public:
  // Connects, authenticates both sides and greets. Errors name the client's address and say what to do.
  explicit AgentSession(const ClientSettings& client);
  // Over a stream that is there already; `where` names it in errors.
  AgentSession(SecuredStream stream, std::string where, bool compress);
  // Says bye if all was in order, cuts the connection otherwise.
  ~AgentSession();
  AgentSession(const AgentSession&) = delete;
  AgentSession& operator=(const AgentSession&) = delete;

  struct CommandResult {
    bool succeeded = false;
    std::string text;    // how it ended, for people: "exited with status 3"
    std::string remedy;
  };
  // Runs a command on the client and waits for its end; each line it prints goes to `output`.
  [[nodiscard]] CommandResult run_command(CommandKind kind, const std::string& command, unsigned timeout_seconds, bool run_succeeded,
                                          const std::function<void(std::string_view)>& output);

  // From now on every frame of a listing, a fetch or a restore goes to `handler`, called by the receiving thread; a throw of it fails the
  // session. `failed` is called once when the session fails (after which failure() is set), from the receiving thread too.
  void receive(std::function<void(Frame&&)> handler, std::function<void()> failed);
  // Frames of listings and fetches are an offence from here on. A call of the handler may still be under way: what it uses must be
  // its own (a shared_ptr).
  void stop_receiving();

  template <typename Message>
  void send(MessageType type, const Message& message) {
    ByteWriter out;
    put(out, message);
    out_.send(type, out.view());
    out_.flush();
  }
  void send_credit(std::uint64_t messages);
  void send_payload(MessageType type, std::string_view payload);
  // Without handing it on at once: more follows, or flush().
  void queue(MessageType type, std::string_view head, std::string_view body = {}) { out_.send(type, head, body); }
  void flush() { out_.flush(); }

  // Rethrows what failed the session, if anything did.
  void check();
  [[nodiscard]] bool failed();
  // The same, with the agent named: for what others find wrong with its answers.
  [[nodiscard]] Error blame(const Error& error) const;
  // Ends the session from this side, now.
  void abort() noexcept { secured_.stream->abort(); }
  // "agent at web1.example port 4444", escaped: the subject of errors about it.
  [[nodiscard]] const std::string& where() const { return where_; }
  // Who the agent is, by its certificate.
  [[nodiscard]] const PeerIdentity& peer() const { return secured_.peer; }

 private:
  void begin(bool compress);
  void receive_loop();
  void dispatch(Frame&& frame);
  void fail(const Error& error);
  [[nodiscard]] bool is_saying_bye();

  std::string where_;
  SecuredStream secured_;
  FrameReader in_;
  FrameWriter out_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void(Frame&&)> handler_;
  std::function<void()> on_failure_;
  std::function<void(std::string_view)> on_output_;
  std::optional<Ran> ran_;
  std::exception_ptr failure_;
  bool saying_bye_ = false, received_all_ = false;
  std::optional<Heartbeat> heartbeat_;
  std::thread receiver_;
};

}  // namespace syncropy

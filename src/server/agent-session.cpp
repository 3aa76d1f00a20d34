#include "server/agent-session.hpp"

#include <chrono>

#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/unexpected.hpp"
#include "wire/greeting.hpp"

namespace syncropy {
namespace {

constexpr unsigned connect_seconds = 30;
constexpr std::chrono::seconds farewell{5};
// How long after its time-out a command's end may be told: the agent ends it within five seconds, and a busy machine takes its time.
constexpr std::chrono::seconds command_grace{15};

SecuredStream open_stream(const ClientSettings& client) {
  std::optional<TlsCredentials> credentials;
  if (client.ssl) credentials.emplace(TlsFiles{client.ssl_certificate, client.ssl_key, client.ssl_password, client.ssl_ca, client.ssl_pins, client.ssl_revoked});
  Socket socket = connect_to(client.host, client.port, connect_seconds);
  if (!client.ssl) return plain_stream(std::move(socket), client.stall_timeout);
  return tls_connect(std::move(socket), *credentials, client.ssl_identity.empty() ? client.host : client.ssl_identity, client.stall_timeout);
}

Error about(const std::string& where, const Error& error) {
  const bool no_remedy = error.remedy().empty() && error.status() == ExitStatus::protocol;
  return Error(error.status(), where + ": " + error.what(), no_remedy ? "check that it is a Syncropy of a fitting version" : error.remedy());
}

}  // namespace

AgentSession::AgentSession(const ClientSettings& client)
    : where_("agent at " + escape(client.host) + (client.host.starts_with('/') ? "" : " port " + std::to_string(client.port))),
      secured_(open_stream(client)), in_(*secured_.stream), out_(*secured_.stream) {
  begin(client.compress);
}

AgentSession::AgentSession(SecuredStream stream, std::string where, bool compress)
    : where_(std::move(where)), secured_(std::move(stream)), in_(*secured_.stream), out_(*secured_.stream) {
  begin(compress);
}

void AgentSession::begin(bool compress) {
  try {
    greet(in_, out_, "syncropy-server", compress, "this server");
  } catch (const Error& error) {
    throw about(where_, error);
  }
  heartbeat_.emplace(out_);
  receiver_ = std::thread([this] { receive_loop(); });
}

AgentSession::~AgentSession() {
  heartbeat_.reset();
  bool in_order = false;
  {
    const std::lock_guard lock(mutex_);
    in_order = failure_ == nullptr;
    saying_bye_ = true;
    on_output_ = nullptr;
  }
  try {
    if (in_order) {
      out_.send(MessageType::bye, {});
      out_.flush();
      secured_.stream->finish();
    } else {
      secured_.stream->abort();
    }
  } catch (const Error&) {
    secured_.stream->abort();
  }
  {
    // The agent closes in answer; one that does not must not hold up the run.
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, farewell, [this] { return received_all_; })) secured_.stream->abort();
  }
  receiver_.join();
}

void AgentSession::receive_loop() {
  try {
    Frame frame;
    while (in_.next(frame)) dispatch(std::move(frame));
    if (!is_saying_bye()) throw Error(ExitStatus::protocol, "it ended the connection in the middle of the run", "look into its journal, then run again");
  } catch (const Error& error) {
    fail(about(where_, error));
  } catch (const std::exception& error) {
    const Error told = as_error(error);
    fail(Error(told.status(), where_ + ": " + told.what(), told.remedy()));
  }
  const std::lock_guard lock(mutex_);
  received_all_ = true;
  changed_.notify_all();
}

bool AgentSession::is_saying_bye() {
  const std::lock_guard lock(mutex_);
  return saying_bye_;
}

void AgentSession::fail(const Error& error) {
  std::function<void()> failed;
  {
    const std::lock_guard lock(mutex_);
    if (!failure_ && !saying_bye_) failure_ = std::make_exception_ptr(error);
    failed = on_failure_;
    changed_.notify_all();
  }
  if (failed) failed();
}

void AgentSession::dispatch(Frame&& frame) {
  switch (frame.type) {
    case MessageType::error: {
      const ErrorMessage message = get_error(frame.payload);
      throw Error(message.status, escape(message.text), escape(message.remedy));
    }
    case MessageType::output: {
      const std::lock_guard lock(mutex_);
      if (!on_output_) throw Error(ExitStatus::protocol, "it sent a command's output when none ran", "check that it is a Syncropy of a fitting version");
      return on_output_(frame.payload);
    }
    case MessageType::ran: {
      Ran ran = get_ran(frame.payload);
      const std::lock_guard lock(mutex_);
      ran_ = std::move(ran);
      return changed_.notify_all();
    }
    case MessageType::entries: case MessageType::problem: case MessageType::listed: case MessageType::file: case MessageType::begin:
    case MessageType::data: case MessageType::keep: case MessageType::restart: case MessageType::end: case MessageType::failed:
    case MessageType::ready: case MessageType::want: case MessageType::outcome: case MessageType::removed: case MessageType::finished: {
      // The handler may block on its workers; whoever sets or clears it waits for it to return.
      std::function<void(Frame&&)> handler;
      {
        const std::lock_guard lock(mutex_);
        handler = handler_;
      }
      if (!handler) throw Error(ExitStatus::protocol, "it sent answers that nobody asked for", "check that it is a Syncropy of a fitting version");
      return handler(std::move(frame));
    }
    default: throw Error(ExitStatus::protocol, "it sent a message that only a server sends", "check that it is a Syncropy of a fitting version");
  }
}

AgentSession::CommandResult AgentSession::run_command(CommandKind kind, const std::string& command, unsigned timeout_seconds, bool run_succeeded,
                                                      const std::function<void(std::string_view)>& output) {
  // What the receiving thread calls lives on this stack: however this call ends, it is taken back first, under the lock it is called under.
  struct Listening {
    AgentSession& session;
    ~Listening() {
      const std::lock_guard lock(session.mutex_);
      session.on_output_ = nullptr;
    }
  };
  std::string line;
  std::size_t total = 0;
  auto print = [&](std::string_view bytes) {
    total += bytes.size();
    if (total > limits::output_bytes) throw Error(ExitStatus::protocol, "it sent more of a command's output than 64 KiB", "check that it is a Syncropy of a fitting version");
    for (char c : bytes) {
      if (c == '\n') output(std::exchange(line, {}));
      else line += c;
    }
  };
  const Listening listening{*this};
  {
    const std::lock_guard lock(mutex_);
    on_output_ = print;
    ran_.reset();
  }
  send(MessageType::run, Run{kind, command, timeout_seconds, run_succeeded});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_seconds) + command_grace;
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [this] { return ran_ || failure_; })) {
    failure_ = std::make_exception_ptr(about(where_, Error(ExitStatus::protocol, "it did not tell how a command ended that it had " + std::to_string(timeout_seconds) + " seconds for",
                                                           "look into its journal, then run again")));
    secured_.stream->abort();
  }
  if (!ran_) std::rethrow_exception(failure_);
  if (!line.empty()) output(line);
  switch (ran_->end) {
    case CommandEnd::exited: return {ran_->value == 0, "exited with status " + std::to_string(ran_->value), "its output is in the lines above; run it by hand on the client"};
    case CommandEnd::signalled: return {false, "was killed by signal " + std::to_string(ran_->value), "its output is in the lines above; run it by hand on the client"};
    case CommandEnd::timed_out: return {false, "did not end within " + std::to_string(timeout_seconds) + " seconds and was killed", "raise 'command_timeout' if it needs longer"};
    case CommandEnd::not_run: return {false, "was not run: " + escape(ran_->text), escape(ran_->remedy)};
  }
  throw Error(ExitStatus::internal, "a command ended in a way that is not known");
}

void AgentSession::receive(std::function<void(Frame&&)> handler, std::function<void()> failed) {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  handler_ = std::move(handler);
  on_failure_ = std::move(failed);
}

void AgentSession::stop_receiving() {
  const std::lock_guard lock(mutex_);
  handler_ = nullptr;
  on_failure_ = nullptr;
}

void AgentSession::send_credit(std::uint64_t messages) {
  ByteWriter out;
  out.put_unsigned(messages);
  send_payload(MessageType::credit, out.view());
}

void AgentSession::send_payload(MessageType type, std::string_view payload) {
  out_.send(type, payload);
  out_.flush();
}

void AgentSession::check() {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
}

Error AgentSession::blame(const Error& error) const { return about(where_, error); }

bool AgentSession::failed() {
  const std::lock_guard lock(mutex_);
  return failure_ != nullptr;
}

}  // namespace syncropy

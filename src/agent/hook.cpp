#include "agent/hook.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <iterator>
#include <optional>
#include <thread>

#include "agent/command.hpp"
#include "agent/hook-program.hpp"
#include "sd/journal.hpp"
#include "transport/tls.hpp"
#include "util/error.hpp"
#include "util/escape.hpp"
#include "util/version.hpp"
#include "wire/frame.hpp"
#include "wire/greeting.hpp"

namespace syncropy {
namespace {

constexpr unsigned silence_limit = 60;  // seconds; either side says alive every 15
constexpr unsigned connect_limit = 10;  // seconds

[[noreturn]] void reject(const std::string& why) {
  throw Error(ExitStatus::protocol, "the agent " + why, "only syncropy-agent speaks to the hook worker; restart syncropy-agent.service if it is of another version");
}

// While it lives, an interruption ends what waits for the stream.
class AbortWhenInterrupted {
 public:
  AbortWhenInterrupted(ByteStream& stream, const Interruption& interruption) : thread_([this, &stream, interruption] {
    pollfd polls[] = {{over_.fd(), POLLIN, 0},
                      {interruption.cut != nullptr ? interruption.cut->fd() : -1, POLLIN, 0},
                      {interruption.stopping != nullptr ? interruption.stopping->fd() : -1, POLLIN, 0}};
    while (::poll(polls, std::size(polls), -1) < 0) {}
    if (!over_.is_set()) stream.abort();
  }) {}
  ~AbortWhenInterrupted() {
    over_.set();
    thread_.join();
  }
  AbortWhenInterrupted(const AbortWhenInterrupted&) = delete;
  AbortWhenInterrupted& operator=(const AbortWhenInterrupted&) = delete;

 private:
  Event over_;
  std::thread thread_;
};

Socket connect_to_worker(const AgentPolicy& policy) {
  try {
    return connect_to(policy.hook_socket, 0, connect_limit);
  } catch (const Error& error) {
    throw Error(ExitStatus::command, std::string("the agent's policy has commands run as root, and their worker does not answer: ") + error.what(),
                "systemctl enable --now syncropy-hook.socket on the client, or set 'commands_as: agent' in its policy");
  }
}

Ran exchange(ByteStream& stream, const Run& request, const std::string& server_name, const std::function<void(std::string_view)>& output) {
  FrameReader in(stream);
  FrameWriter out(stream);
  ByteWriter hello, run;
  Hello greeting;
  greeting.software = std::string("syncropy-agent ") + version;
  greeting.host = server_name;
  put(hello, greeting);
  put(run, request);
  try {
    out.send(MessageType::hello, hello.view());
    out.send(MessageType::run, run.view());
    out.flush();
  } catch (const Error&) {
    // It has hung up. What it said before that is next to be read, and worth more.
  }
  const Heartbeat heartbeat(out);
  std::size_t printed = 0;
  for (Frame frame; in.next(frame);) {
    if (frame.type == MessageType::ran) return get_ran(frame.payload);
    if (frame.type == MessageType::error) {
      const ErrorMessage message = get_error(frame.payload);
      throw Error(message.status == ExitStatus::refused ? ExitStatus::refused : ExitStatus::command, escape(message.text), escape(message.remedy));
    }
    if (frame.type != MessageType::output) throw Error(ExitStatus::protocol, "the hook worker sent a message that has no place here");
    printed += frame.payload.size();
    if (printed > limits::output_bytes) throw Error(ExitStatus::protocol, "the hook worker sent more output than there may be");
    output(frame.payload);
  }
  throw Error(ExitStatus::protocol, "the hook worker ended without a word on how the command did", "journalctl -u 'syncropy-hook@*' on the client");
}

uid_t peer_of(const Fd& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof peer)
    throw SystemError(ExitStatus::refused, errno, "ask who is at", "the other end of the connection", "use ListenStream= with an absolute path in syncropy-hook.socket");
  return peer.uid;
}

void check_asker(uid_t peer, uid_t asker) {
  if (peer != 0 && peer != asker)
    throw Error(ExitStatus::refused, "user " + std::to_string(peer) + " asked for a hook, and may not",
                "see who that is; SocketUser= and SocketMode=0600 in syncropy-hook.socket keep others from asking");
}

void check_policy(const AgentPolicy& policy) {
  const std::string file = policy.file.empty() ? "a policy" : escape(policy.file);
  if (policy.commands != CommandPolicy::named || policy.commands_as != CommandUser::root)
    throw Error(ExitStatus::refused, "the policy has no command run as root", "write 'commands: named' and 'commands_as: root' into " + file + " on the client");
}

void tell(FrameWriter& out, const Error& error) noexcept {
  try {
    send_error(out, error);
  } catch (const std::exception&) {
    // It has gone, or has been told.
  }
}

struct Asked {
  std::string server;
  Run run;
};

Asked take_request(FrameReader& in) {
  Asked asked;
  Frame frame;
  if (!in.next(frame) || frame.type != MessageType::hello) reject("did not begin with a greeting");
  const Hello hello = get_hello(frame.payload);
  if (hello.version != protocol_version) reject("speaks protocol " + std::to_string(hello.version) + ", this worker speaks " + std::to_string(protocol_version));
  asked.server = escape(hello.host);
  if (!in.next(frame) || frame.type != MessageType::run) reject("asked for no command");
  asked.run = get_run(frame.payload);
  return asked;
}

std::string describe(const Ran& ran) {
  switch (ran.end) {
    case CommandEnd::exited: return "exited with status " + std::to_string(ran.value);
    case CommandEnd::signalled: return "was ended by signal " + std::to_string(ran.value);
    case CommandEnd::timed_out: return "took too long and was ended";
    case CommandEnd::not_run: break;
  }
  return "was not run";
}

// The agent has nothing more to say once it has asked: whatever comes is its end. At the end of this, its connection ends.
class EndWatch {
 public:
  EndWatch(ByteStream& stream, FrameReader& in) : stream_(stream), thread_([this, &in] {
    try {
      Frame frame;
      static_cast<void>(in.next(frame));
    } catch (const Error&) {
      // Cut, or silent for too long.
    }
    gone_.set();
  }) {}
  ~EndWatch() {
    stream_.abort();
    thread_.join();
  }
  EndWatch(const EndWatch&) = delete;
  EndWatch& operator=(const EndWatch&) = delete;
  [[nodiscard]] const Event& gone() const { return gone_; }

 private:
  ByteStream& stream_;
  Event gone_;
  std::thread thread_;
};

void run_hook(FrameWriter& out, const AgentPolicy& policy, const Asked& asked, const EndWatch& agent) {
  const std::string program = find_hook(policy.hooks_folder, asked.run.command, 0);
  const std::vector<LogField> fields{{"SYNCROPY_SERVER", asked.server}, {"SYNCROPY_COMMAND", program}};
  log(Priority::info, "runs " + program + (asked.run.kind == CommandKind::pre ? " before" : " after") + " a backup by " + asked.server, fields);
  const Heartbeat heartbeat(out);
  const Interruption interruption{policy.commands_if_cut == CutPolicy::finish ? nullptr : &agent.gone(), nullptr};
  const Ran ran = run_process({program}, command_environment(asked.run, asked.server, true), asked.run.timeout_seconds, interruption, [&](std::string_view piece) {
    out.send(MessageType::output, piece);
    out.flush();
  });
  log(Priority::info, program + " " + describe(ran) + (agent.gone().is_set() ? "; the agent had gone meanwhile" : ""), fields);
  ByteWriter message;
  put(message, ran);
  out.send(MessageType::ran, message.view());
  out.flush();
}

}  // namespace

Ran ask_hook_worker(const AgentPolicy& policy, const Run& request, const std::string& server_name, const Interruption& interruption,
                    const std::function<void(std::string_view)>& output) {
  if (server_name.size() > limits::short_text_bytes)
    throw Error(ExitStatus::refused, "the server's name is longer than " + std::to_string(limits::short_text_bytes) + " bytes, and no hook could be told of it", "give it a certificate with a shorter name");
  const SecuredStream worker = plain_stream(connect_to_worker(policy), silence_limit);
  const AbortWhenInterrupted watch(*worker.stream, interruption);
  try {
    return exchange(*worker.stream, request, server_name, output);
  } catch (const Error& error) {
    if (error.status() == ExitStatus::refused || error.status() == ExitStatus::command) throw;
    throw Error(ExitStatus::command, std::string("the hook worker failed: ") + error.what(), error.remedy());
  }
}

void serve_hook(Socket connection, const std::function<AgentPolicy()>& load, uid_t asker) {
  const uid_t peer = peer_of(connection.fd);
  const SecuredStream agent = plain_stream(std::move(connection), silence_limit);
  FrameReader in(*agent.stream);
  FrameWriter out(*agent.stream);
  std::optional<EndWatch> watch;  // outlives the try block: the agent is told before it is cut off
  try {
    check_asker(peer, asker);
    const AgentPolicy policy = load();
    check_policy(policy);
    const Asked asked = take_request(in);
    watch.emplace(*agent.stream, in);
    run_hook(out, policy, asked, *watch);
  } catch (const Error& error) {
    tell(out, error);
    throw;
  }
}

}  // namespace syncropy

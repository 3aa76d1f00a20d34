#pragma once
// A connected socket that waits with a limit and can be cut off from any thread: what plain and TLS streams share.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "transport/socket.hpp"

namespace syncropy {

class Channel {
 public:
  // `them` is how messages call the peer: "the agent", "the server", "the peer".
  Channel(Socket socket, std::string them, unsigned stall_seconds);

  // One thread may receive while another sends. At least one byte, or 0 at the end of the TCP stream. Throws Error(protocol): nothing
  // came for the stall time, the connection broke, or it was aborted.
  [[nodiscard]] std::size_t receive(std::span<std::byte> into);
  // What has arrived already; 0 where that is nothing, or the stream's end. Never waits, never throws.
  [[nodiscard]] std::size_t receive_ready(std::span<std::byte> into) noexcept;
  void send_all(std::span<const std::byte> bytes);
  // Everything from here on until lift_deadline must be done by `deadline`, however busy the peer is.
  void set_deadline(std::chrono::steady_clock::time_point deadline) { deadline_ = deadline; }
  void lift_deadline() { deadline_.reset(); }

  // No more will be sent: the peer reads an end.
  void end_sending() noexcept;
  // After end_sending: takes what the peer still sends, for at most a second, so that the close that follows does not reset the
  // connection before the peer has read our last words.
  void linger() noexcept;
  void abort() noexcept;
  // Throws when aborted.
  void check_abort() const;

  void call_peer(std::string them) { them_ = std::move(them); }

 private:
  void wait_for(short events, std::chrono::steady_clock::time_point since);
  [[noreturn]] void broke(int code) const;

  Socket socket_;
  std::string them_;
  std::chrono::seconds stall_;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  std::atomic<bool> aborted_ = false;
  Fd abort_event_;
};

}  // namespace syncropy

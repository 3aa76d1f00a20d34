#include "sd/service.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <optional>
#include <string>

#include "util/error.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double most_at_once = 5;
constexpr std::chrono::seconds progress_interval{1};

struct Notified {
  std::mutex mutex;
  double allowance = most_at_once;
  Clock::time_point counted = Clock::now();
  std::string status;
  std::optional<Clock::time_point> progress;
};

Notified& notified() {
  static Notified one;
  return one;
}

}  // namespace

void notify_ready() noexcept { ::sd_notify(0, "READY=1"); }

void notify_stopping() noexcept { ::sd_notify(0, "STOPPING=1"); }

void notify_reloading() noexcept {
  // A manager of version 253 and later wants to know that this is the answer to its own request; older ones skip the line.
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  ::sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000);
}

void notify_watchdog() noexcept { ::sd_notify(0, "WATCHDOG=1"); }

std::optional<std::chrono::microseconds> watchdog_interval() noexcept {
  std::uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(0, &microseconds) <= 0) return std::nullopt;
  return std::chrono::microseconds(microseconds / 2);
}

void notify_status(std::string_view status) noexcept {
  try {
    Notified& last = notified();
    const std::lock_guard lock(last.mutex);
    if (last.status == status) return;
    const auto now = Clock::now();
    last.allowance = std::min(most_at_once, last.allowance + std::chrono::duration<double>(now - last.counted).count());
    last.counted = now;
    if (last.allowance < 1) return;
    last.allowance -= 1;
    last.status = status;
    ::sd_notify(0, ("STATUS=" + last.status).c_str());
  } catch (const std::exception&) {
    // Only a courtesy.
  }
}

void notify_progress(unsigned seconds) noexcept {
  try {
    Notified& last = notified();
    const std::lock_guard lock(last.mutex);
    const auto now = Clock::now();
    if (last.progress && now - *last.progress < progress_interval) return;
    last.progress = now;
    ::sd_notify(0, ("EXTEND_TIMEOUT_USEC=" + std::to_string(seconds * 1'000'000ULL)).c_str());
  } catch (const std::exception&) {
    // The next one comes in a second.
  }
}

PassedSockets take_sockets() {
  const int count = ::sd_listen_fds(1);
  std::vector<Fd> sockets;
  for (int i = 0; i < count; ++i) sockets.emplace_back(SD_LISTEN_FDS_START + i);
  PassedSockets passed;
  for (Fd& socket : sockets) {
    const bool listens = ::sd_is_socket(socket.get(), AF_UNSPEC, SOCK_STREAM, 1) > 0;
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const bool is_connection = !listens && ::sd_is_socket(socket.get(), AF_UNSPEC, SOCK_STREAM, 0) > 0 &&
                               ::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&peer), &size) == 0;
    if (!listens && (!is_connection || count > 1))
      throw Error(ExitStatus::usage, "file descriptor " + std::to_string(socket.get()) + ", passed by the service manager, is neither a listening stream socket nor one connection alone",
                  "use ListenStream= in the socket unit");
    const int flags = ::fcntl(socket.get(), F_GETFL);
    if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) throw_errno(ExitStatus::io, "set up", "a socket of the service manager", "see what this process lacks: open files (LimitNOFILE=), memory");
    if (listens) passed.listeners.push_back(std::move(socket));
    else passed.connection = std::move(socket);
  }
  return passed;
}

}  // namespace syncropy

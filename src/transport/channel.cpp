#include "transport/channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

#include "util/error.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds linger_time{1};

}  // namespace

Channel::Channel(Socket socket, std::string them, unsigned stall_seconds)
    : socket_(std::move(socket)), them_(std::move(them)), stall_(stall_seconds), abort_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!abort_event_) throw_errno(ExitStatus::io, "make", "an eventfd");
  const int flags = ::fcntl(socket_.fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket_.fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) throw_errno(ExitStatus::io, "set up", "a socket", "see what this process lacks: open files (LimitNOFILE=), memory");
}

void Channel::check_abort() const {
  if (aborted_) throw Error(ExitStatus::protocol, "the connection to " + them_ + " was ended from this side");
}

void Channel::broke(int code) const {
  throw Error(ExitStatus::protocol, "the connection to " + them_ + " broke (" + std::strerror(code) + ")", "look into its journal and at the network between, then run again");
}

void Channel::wait_for(short events, Clock::time_point since) {
  for (;;) {
    check_abort();
    const Clock::time_point until = deadline_.value_or(since + stall_);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) {
      const std::string within = " for " + std::to_string(stall_.count()) + " seconds";
      const char* remedy = "see whether that machine and the network are in order; 'stall_timeout' is how long to wait";
      if (deadline_) throw Error(ExitStatus::protocol, them_ + " did not finish the TLS handshake within " + std::to_string(stall_.count()) + " seconds", remedy);
      throw Error(ExitStatus::protocol, them_ + (events == POLLIN ? " sent nothing" : " took nothing") + within, remedy);
    }
    std::array<pollfd, 2> polls{{{socket_.fd.get(), events, 0}, {abort_event_.get(), POLLIN, 0}}};
    const int count = ::poll(polls.data(), polls.size(), static_cast<int>(std::min<long long>(left, std::numeric_limits<int>::max())));
    if (count < 0 && errno != EINTR) throw_errno(ExitStatus::protocol, "wait for", them_);
    check_abort();
    if (count > 0 && polls[0].revents != 0) return;
  }
}

std::size_t Channel::receive(std::span<std::byte> into) {
  const Clock::time_point since = Clock::now();
  for (;;) {
    check_abort();
    const ssize_t got = ::recv(socket_.fd.get(), into.data(), into.size(), MSG_DONTWAIT);
    if (got >= 0) {
      check_abort();  // the end that our own shutdown made is not the peer's
      return static_cast<std::size_t>(got);
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) broke(errno);
    wait_for(POLLIN, since);
  }
}

std::size_t Channel::receive_ready(std::span<std::byte> into) noexcept {
  const ssize_t got = ::recv(socket_.fd.get(), into.data(), into.size(), MSG_DONTWAIT);
  return static_cast<std::size_t>(std::max<ssize_t>(got, 0));
}

void Channel::send_all(std::span<const std::byte> bytes) {
  Clock::time_point since = Clock::now();
  while (!bytes.empty()) {
    check_abort();
    const ssize_t put = ::send(socket_.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      since = Clock::now();
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      const int code = errno;
      check_abort();
      broke(code);
    }
    wait_for(POLLOUT, since);
  }
}

void Channel::end_sending() noexcept { ::shutdown(socket_.fd.get(), SHUT_WR); }

void Channel::linger() noexcept {
  const auto until = Clock::now() + linger_time;
  std::array<std::byte, 4'096> ignored;
  while (!aborted_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return;
    const ssize_t got = ::recv(socket_.fd.get(), ignored.data(), ignored.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return;
    if (got > 0) continue;
    pollfd readable{socket_.fd.get(), POLLIN, 0};
    ::poll(&readable, 1, static_cast<int>(left));
  }
}

void Channel::abort() noexcept {
  if (aborted_.exchange(true)) return;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(abort_event_.get(), &one, sizeof one));
  ::shutdown(socket_.fd.get(), SHUT_RDWR);
}

}  // namespace syncropy

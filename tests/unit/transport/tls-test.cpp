#include "transport/tls.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <future>
#include <optional>
#include <random>
#include <thread>

#include "raw-peer.hpp"
#include "test-keys.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string file(const std::string& name) { return cast().keys.path(name); }

TlsFiles with_ca(const std::string& name) { return {file(name + ".crt"), file(name + ".key"), {}, file("ca.crt"), {}}; }
TlsFiles pinning(const std::string& name, const std::string& pin) { return {file(name + ".crt"), file(name + ".key"), {}, {}, {file(pin + ".crt")}}; }

Error failure_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ExitStatus::success, "nothing was thrown");
}

bool has(const Error& error, std::string_view text) { return error.line().find(text) != std::string::npos; }

std::string read_all(ByteStream& stream) {
  std::string all;
  std::string buffer(65'536, '\0');
  for (;;) {
    const std::size_t got = stream.read_some(std::as_writable_bytes(std::span(buffer)));
    if (got == 0) return all;
    all.append(buffer, 0, got);
  }
}

void write(ByteStream& stream, std::string_view bytes) { stream.write_all(std::as_bytes(std::span(bytes))); }

// Both sides of a connection; each has a stream or the error that it ended in.
struct Meeting {
  std::optional<SecuredStream> server, agent;
  std::optional<Error> server_error, agent_error;
};

struct Terms {
  TlsFiles server = with_ca("server"), agent = with_ca("agent");
  std::string expected = "web1.example.org";
  std::vector<std::string> accepted{"backup.example.org"};
  unsigned stall_seconds = 10;
};

// `server_does` runs once the server believes itself connected, while the agent may still be at it.
Meeting meet(const Terms& terms, const std::function<void(ByteStream&)>& server_does = {}) {
  Meeting meeting;
  auto [one, other] = socket_pair();
  const TlsCredentials server_credentials(terms.server), agent_credentials(terms.agent);
  std::thread agent([&, socket = std::move(other)]() mutable {
    try {
      meeting.agent = tls_accept(std::move(socket), agent_credentials, terms.accepted, terms.stall_seconds);
    } catch (const Error& error) {
      meeting.agent_error = error;
    }
  });
  try {
    meeting.server = tls_connect(std::move(one), server_credentials, terms.expected, terms.stall_seconds);
    if (server_does) server_does(*meeting.server->stream);
    meeting.server->stream->abort();
  } catch (const Error& error) {
    meeting.server_error = error;
  }
  agent.join();
  return meeting;
}

struct Connected {
  SecuredStream server, agent;
  explicit Connected(unsigned stall_seconds = 10) {
    const TlsCredentials server_credentials(with_ca("server")), agent_credentials(with_ca("agent"));
    auto [one, other] = socket_pair();
    auto accepted = std::async(std::launch::async, [&, socket = std::move(other)]() mutable {
      return tls_accept(std::move(socket), agent_credentials, {"backup.example.org"}, stall_seconds);
    });
    server = tls_connect(std::move(one), server_credentials, "web1.example.org", stall_seconds);
    agent = accepted.get();
  }
};

TEST(Tls, PrivateCaBothWays) {
  Connected pair;
  EXPECT_EQ(pair.server.peer.names, (std::vector<std::string>{"web1.example.org", "*.pool.example.org"}));
  EXPECT_EQ(pair.agent.peer.names, (std::vector<std::string>{"backup.example.org"}));
  EXPECT_FALSE(pair.server.peer.pinned);
  EXPECT_TRUE(pair.server.peer.plain.empty());
  write(*pair.server.stream, "question");
  pair.server.stream->finish();
  EXPECT_EQ(read_all(*pair.agent.stream), "question");
  write(*pair.agent.stream, "answer");
  pair.agent.stream->finish();
  EXPECT_EQ(read_all(*pair.server.stream), "answer");
}

TEST(Tls, SelfSignedPairOnBothSidesIsPinning) {
  Terms terms;
  terms.server = terms.agent = pinning("self", "self");
  terms.expected = "whatever the host is called";
  terms.accepted = {};
  const Meeting meeting = meet(terms);
  ASSERT_TRUE(meeting.server && meeting.agent);
  EXPECT_TRUE(meeting.server->peer.pinned);
  EXPECT_TRUE(meeting.agent->peer.pinned);
  EXPECT_EQ(meeting.server->peer.fingerprint, meeting.agent->peer.fingerprint);
}

TEST(Tls, PinnedBesideCa) {
  Terms terms;
  terms.server = pinning("self", "agent");
  terms.agent.pins = {file("self.crt")};
  const Meeting meeting = meet(terms);
  ASSERT_TRUE(meeting.server && meeting.agent) << (meeting.server_error ? meeting.server_error->line() : "") << (meeting.agent_error ? meeting.agent_error->line() : "");
  EXPECT_TRUE(meeting.agent->peer.pinned);
}

TEST(Tls, ExpectedNameMayBeAddressOrWildcard) {
  for (const char* name : {"127.0.0.1", "WEB1.example.org", "n7.pool.example.org"}) {
    Terms terms;
    terms.expected = name;
    EXPECT_TRUE(meet(terms).server) << name;
  }
}

TEST(Tls, CommonNameCountsWhereThereIsNoAlternativeName) {
  Terms terms;
  terms.agent = with_ca("server");
  terms.expected = "backup.example.org";
  EXPECT_TRUE(meet(terms).server);
  // "ignored" is the common name of a certificate with alternative names.
  terms = {};
  terms.expected = "ignored";
  EXPECT_FALSE(meet(terms).server);
}

TEST(Tls, WrongNameOfTheAgent) {
  Terms terms;
  terms.expected = "web2.example.org";
  const Meeting meeting = meet(terms);
  ASSERT_TRUE(meeting.server_error);
  EXPECT_EQ(meeting.server_error->status(), ExitStatus::refused);
  EXPECT_TRUE(has(*meeting.server_error, "carries the name 'web1.example.org', '*.pool.example.org', and not 'web2.example.org'")) << meeting.server_error->line();
  EXPECT_TRUE(has(*meeting.server_error, "sslidentity"));
  // The agent hears of it.
  ASSERT_TRUE(meeting.agent_error);
  EXPECT_EQ(meeting.agent_error->status(), ExitStatus::refused);
  EXPECT_TRUE(has(*meeting.agent_error, "the server refused this agent's certificate: its name is not accepted there")) << meeting.agent_error->line();
}

// What the server reads, and what its first write or the one after it ends in, when the agent refused it.
void expect_server_hears(const Terms& terms, std::string_view reason, std::string_view agent_says) {
  Error on_read(ExitStatus::success, ""), on_write = on_read;
  const Meeting meeting = meet(terms, [&](ByteStream& stream) { on_read = failure_of([&] { read_all(stream); }); });
  ASSERT_TRUE(meeting.agent_error) << reason;
  EXPECT_EQ(meeting.agent_error->status(), ExitStatus::refused);
  EXPECT_TRUE(has(*meeting.agent_error, agent_says)) << meeting.agent_error->line();
  EXPECT_FALSE(meeting.agent_error->remedy().empty());
  ASSERT_TRUE(meeting.server) << meeting.server_error->line();
  EXPECT_EQ(on_read.status(), ExitStatus::refused);
  EXPECT_TRUE(has(on_read, "the agent refused this server's certificate")) << on_read.line();
  EXPECT_TRUE(has(on_read, reason)) << on_read.line();
  EXPECT_FALSE(on_read.remedy().empty());

  meet(terms, [&](ByteStream& stream) {
    on_write = failure_of([&] {
      for (const auto start = Clock::now(); seconds_since(start) < 5;) write(stream, std::string(1'000, 'x'));
    });
  });
  EXPECT_EQ(on_write.line(), on_read.line());
}

TEST(Tls, AgentRefusesForeignCa) {
  Terms terms;
  terms.server = {file("foreign.crt"), file("foreign.key"), {}, file("ca.crt"), {}};
  expect_server_hears(terms, "neither pinned there nor signed by a CA known there", "is foreign: it is not signed by the CA in " + file("ca.crt"));
}

TEST(Tls, AgentRefusesSelfSignedThatIsNotPinned) {
  Terms terms;
  terms.server = pinning("self", "agent");
  terms.agent = pinning("agent", "other-self");
  expect_server_hears(terms, "neither pinned", "is foreign: it is not the pinned one (" + file("other-self.crt") + ")");
}

TEST(Tls, AgentRefusesServerThatIsNotListed) {
  Terms terms;
  terms.accepted = {"other.example.org"};
  expect_server_hears(terms, "add one of its names to 'servers' in the agent's policy", "which is not among the accepted 'other.example.org'");
  terms.accepted = {};
  expect_server_hears(terms, "its name is not accepted there", "(none is)");
}

// An own certificate that expired is refused when it is loaded, so these peers are GnuTLS alone.
void expect_agent_refuses(const std::string& name, const TlsFiles& files, std::string_view agent_says, gnutls_alert_description_t alert) {
  auto [one, other] = socket_pair();
  const TlsCredentials credentials(files);
  auto accepted = std::async(std::launch::async, [&, socket = std::move(other)]() mutable {
    return failure_of([&] { static_cast<void>(tls_accept(std::move(socket), credentials, {"backup.example.org"}, 10)); });
  });
  RawPeer peer(std::move(one.fd), GNUTLS_CLIENT, name);
  EXPECT_EQ(peer.handshake(), 0);
  char byte;
  EXPECT_EQ(peer.patiently([&] { return gnutls_record_recv(peer.session, &byte, 1); }), GNUTLS_E_FATAL_ALERT_RECEIVED);
  EXPECT_EQ(gnutls_alert_get(peer.session), alert) << gnutls_alert_get_name(gnutls_alert_get(peer.session));
  peer.close();
  const Error error = accepted.get();
  EXPECT_EQ(error.status(), ExitStatus::refused);
  EXPECT_TRUE(has(error, agent_says)) << error.line();
}

TEST(Tls, AgentRefusesExpired) {
  expect_agent_refuses("expired", with_ca("agent"), "expired on 20", GNUTLS_A_CERTIFICATE_EXPIRED);
  expect_agent_refuses("expired-self", pinning("agent", "expired-self"), "expired on 20", GNUTLS_A_CERTIFICATE_EXPIRED);
}

TEST(Tls, AgentRefusesNotYetValid) { expect_agent_refuses("early", with_ca("agent"), "is not valid before 20", GNUTLS_A_CERTIFICATE_EXPIRED); }

TEST(Tls, AgentRefusesServerWithoutCertificate) {
  expect_agent_refuses("", with_ca("agent"), "the server presented no certificate", GNUTLS_A_CERTIFICATE_REQUIRED);
}

void expect_server_refuses(const std::string& name, const TlsFiles& files, std::string_view server_says, gnutls_alert_description_t alert) {
  auto [one, other] = socket_pair();
  const TlsCredentials credentials(files);
  auto connected = std::async(std::launch::async, [&, socket = std::move(one)]() mutable {
    return failure_of([&] { static_cast<void>(tls_connect(std::move(socket), credentials, "backup.example.org", 10)); });
  });
  RawPeer peer(std::move(other.fd), GNUTLS_SERVER, name);
  EXPECT_EQ(peer.handshake(), GNUTLS_E_FATAL_ALERT_RECEIVED);
  EXPECT_EQ(gnutls_alert_get(peer.session), alert) << gnutls_alert_get_name(gnutls_alert_get(peer.session));
  peer.close();
  const Error error = connected.get();
  EXPECT_EQ(error.status(), ExitStatus::refused);
  EXPECT_TRUE(has(error, server_says)) << error.line();
}

TEST(Tls, ServerRefusesForeignExpiredAndEarlyAgents) {
  expect_server_refuses("foreign", with_ca("server"), "is foreign", GNUTLS_A_UNKNOWN_CA);
  expect_server_refuses("expired", with_ca("server"), "expired on 20", GNUTLS_A_CERTIFICATE_EXPIRED);
  expect_server_refuses("early", with_ca("server"), "is not valid before 20", GNUTLS_A_CERTIFICATE_EXPIRED);
  expect_server_refuses("self", pinning("self", "other-self"), "is not the pinned one", GNUTLS_A_UNKNOWN_CA);
}

TEST(Tls, OlderVersionsAreNotSpoken) {
  auto [one, other] = socket_pair();
  const TlsCredentials credentials(with_ca("agent"));
  auto accepted = std::async(std::launch::async, [&, socket = std::move(other)]() mutable {
    return failure_of([&] { static_cast<void>(tls_accept(std::move(socket), credentials, {"backup.example.org"}, 10)); });
  });
  RawPeer peer(std::move(one.fd), GNUTLS_CLIENT, "server", "NORMAL:-VERS-ALL:+VERS-TLS1.2");
  EXPECT_LT(peer.handshake(), 0);
  peer.close();
  const Error error = accepted.get();
  EXPECT_EQ(error.status(), ExitStatus::protocol);
  EXPECT_TRUE(has(error, "TLS 1.3")) << error.line();
}

TEST(Tls, PeerThatDoesNotSpeakTls) {
  for (const bool as_server : {true, false}) {
    auto [one, other] = socket_pair();
    const std::string banner = "SSH-2.0-OpenSSH_9.2\r\n";
    ASSERT_EQ(::send(other.fd.get(), banner.data(), banner.size(), 0), static_cast<ssize_t>(banner.size()));
    const TlsCredentials credentials(with_ca("server"));
    const Error error = failure_of([&] {
      if (as_server) static_cast<void>(tls_connect(std::move(one), credentials, "x", 5));
      else static_cast<void>(tls_accept(std::move(one), credentials, {"x"}, 5));
    });
    EXPECT_EQ(error.status(), ExitStatus::protocol);
    EXPECT_TRUE(has(error, "does not speak TLS")) << error.line();
  }
}

TEST(Tls, PeerThatClosesInTheHandshake) {
  auto [one, other] = socket_pair();
  other.fd.reset();
  const TlsCredentials credentials(with_ca("server"));
  const Error error = failure_of([&] { static_cast<void>(tls_connect(std::move(one), credentials, "x", 5)); });
  EXPECT_EQ(error.status(), ExitStatus::protocol);
}

TEST(Tls, PeerThatStallsInTheHandshake) {
  auto [one, other] = socket_pair();
  const TlsCredentials credentials(with_ca("server"));
  const auto start = Clock::now();
  const Error error = failure_of([&] { static_cast<void>(tls_connect(std::move(one), credentials, "x", 1)); });
  EXPECT_EQ(error.status(), ExitStatus::protocol);
  EXPECT_TRUE(has(error, "did not finish the TLS handshake within 1 seconds")) << error.line();
  EXPECT_LT(seconds_since(start), 5);
}

TEST(Tls, PeerThatStallsLater) {
  const Connected pair(1);
  auto start = Clock::now();
  Error error = failure_of([&] { read_all(*pair.server.stream); });
  EXPECT_EQ(error.status(), ExitStatus::protocol);
  EXPECT_TRUE(has(error, "the agent sent nothing for 1 seconds")) << error.line();
  EXPECT_LT(seconds_since(start), 5);
  start = Clock::now();
  error = failure_of([&] { write(*pair.agent.stream, std::string(16U << 20, 'x')); });
  EXPECT_TRUE(has(error, "the server took nothing for 1 seconds")) << error.line();
  EXPECT_LT(seconds_since(start), 5);
}

// A backup must never take a cut connection for the end of a file.
TEST(Tls, EndWithoutCloseNotifyIsNeverTheEnd) {
  auto [one, other] = socket_pair();
  const TlsCredentials credentials(with_ca("server"));
  auto connected = std::async(std::launch::async, [&, socket = std::move(one)]() mutable { return tls_connect(std::move(socket), credentials, "web1.example.org", 10); });
  RawPeer peer(std::move(other.fd), GNUTLS_SERVER, "agent");
  ASSERT_EQ(peer.handshake(), 0);
  const SecuredStream secured = connected.get();
  ASSERT_EQ(gnutls_record_send(peer.session, "half a fi", 9), 9);
  peer.close();
  std::string buffer(100, '\0');
  EXPECT_EQ(secured.stream->read_some(std::as_writable_bytes(std::span(buffer))), 9U);
  for (int i = 0; i < 2; ++i) {
    const Error error = failure_of([&] { static_cast<void>(secured.stream->read_some(std::as_writable_bytes(std::span(buffer)))); });
    EXPECT_EQ(error.status(), ExitStatus::protocol);
    EXPECT_TRUE(has(error, "the connection to the agent was cut off")) << error.line();
  }
}

TEST(Tls, DamagedRecordIsAnError) {
  // A relay between the two flips a bit of the third record or so that it passes on.
  auto [one, near_end] = socket_pair();
  auto [far_end, other] = socket_pair();
  std::atomic<bool> damage = false;
  auto relay = [&damage](int from, int to, bool may_damage) {
    char buffer[65'536];
    for (;;) {
      pollfd readable{from, POLLIN, 0};
      ::poll(&readable, 1, -1);
      const ssize_t got = ::recv(from, buffer, sizeof buffer, 0);
      if (got <= 0) break;
      if (may_damage && damage) buffer[got / 2] = static_cast<char>(buffer[got / 2] ^ 1);
      ::send(to, buffer, static_cast<std::size_t>(got), MSG_NOSIGNAL);
    }
    ::shutdown(to, SHUT_WR);
  };
  std::thread there([&, from = near_end.fd.get(), to = far_end.fd.get()] { relay(from, to, false); });
  std::thread back([&, from = far_end.fd.get(), to = near_end.fd.get()] { relay(from, to, true); });
  {
    const TlsCredentials server_credentials(with_ca("server")), agent_credentials(with_ca("agent"));
    auto accepted = std::async(std::launch::async, [&, socket = std::move(other)]() mutable { return tls_accept(std::move(socket), agent_credentials, {"backup.example.org"}, 10); });
    const SecuredStream server = tls_connect(std::move(one), server_credentials, "web1.example.org", 10);
    const SecuredStream agent = accepted.get();
    damage = true;
    write(*agent.stream, "precious");
    const Error error = failure_of([&] { read_all(*server.stream); });
    EXPECT_EQ(error.status(), ExitStatus::protocol);
  }
  there.join();
  back.join();
}

TEST(Tls, AbortWakesReaderAndWriter) {
  const Connected pair(60);
  auto reading = std::async(std::launch::async, [&] { return failure_of([&] { read_all(*pair.server.stream); }); });
  auto writing = std::async(std::launch::async, [&] {
    return failure_of([&] {
      for (;;) write(*pair.server.stream, std::string(1U << 20, 'x'));
    });
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto start = Clock::now();
  pair.server.stream->abort();
  pair.server.stream->abort();
  EXPECT_EQ(reading.get().status(), ExitStatus::protocol);
  EXPECT_EQ(writing.get().status(), ExitStatus::protocol);
  EXPECT_LT(seconds_since(start), 5);
  EXPECT_EQ(failure_of([&] { read_all(*pair.server.stream); }).status(), ExitStatus::protocol);
  EXPECT_EQ(failure_of([&] { write(*pair.server.stream, "x"); }).status(), ExitStatus::protocol);
  EXPECT_EQ(failure_of([&] { read_all(*pair.agent.stream); }).status(), ExitStatus::protocol);
}

// What the agent said last must be readable although the server's write failed first.
TEST(Tls, LastWordsSurviveAFailedWrite) {
  Connected pair;
  write(*pair.agent.stream, "the disk is on fire");
  pair.agent.stream->finish();
  pair.agent.stream.reset();
  const Error error = failure_of([&] {
    for (int i = 0; i < 100; ++i) write(*pair.server.stream, std::string(100'000, 'x'));
  });
  EXPECT_EQ(error.status(), ExitStatus::protocol);
  EXPECT_EQ(read_all(*pair.server.stream), "the disk is on fire");
}

void exchange(ByteStream& left, ByteStream& right, std::size_t bytes) {
  auto send = [bytes](ByteStream& stream, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string block(256U << 10, '\0');
    for (std::size_t at = 0; at < block.size(); at += 8) {
      const std::uint64_t value = random();
      std::memcpy(block.data() + at, &value, 8);
    }
    Hasher hasher;
    for (std::size_t done = 0; done < bytes;) {
      block[0] = static_cast<char>(block[0] + 1);
      const std::size_t size = std::min({bytes - done, block.size(), static_cast<std::size_t>(1 + random() % block.size() * 2)});
      const std::string_view piece(block.data(), size);
      hasher.update(piece);
      write(stream, piece);
      done += size;
    }
    stream.finish();
    return hasher.finish();
  };
  auto receive = [](ByteStream& stream) {
    Hasher hasher;
    std::string buffer(256U << 10, '\0');
    while (const std::size_t got = stream.read_some(std::as_writable_bytes(std::span(buffer)))) hasher.update(std::string_view(buffer.data(), got));
    return hasher.finish();
  };
  const auto start = Clock::now();
  auto left_sends = std::async(std::launch::async, [&] { return send(left, 1); });
  auto right_sends = std::async(std::launch::async, [&] { return send(right, 2); });
  auto left_receives = std::async(std::launch::async, [&] { return receive(left); });
  auto right_receives = std::async(std::launch::async, [&] { return receive(right); });
  EXPECT_EQ(left_sends.get(), right_receives.get());
  EXPECT_EQ(right_sends.get(), left_receives.get());
  const double took = seconds_since(start);
  std::printf("  %zu MiB each way in %.2f s: %.0f MB/s in all, SHA-256 of both ends included\n", bytes >> 20, took, 2 * static_cast<double>(bytes) / took / 1e6);
}

TEST(Tls, FullDuplexTransferArrivesWhole) {
  const Connected pair;
  exchange(*pair.server.stream, *pair.agent.stream, 256U << 20);
}

TEST(Tls, OneWayTransfer) {
  const Connected pair;
  constexpr std::size_t bytes = 512U << 20;
  const auto start = Clock::now();
  auto receiving = std::async(std::launch::async, [&] {
    std::size_t total = 0;
    std::string buffer(256U << 10, '\0');
    while (const std::size_t got = pair.server.stream->read_some(std::as_writable_bytes(std::span(buffer)))) total += got;
    return total;
  });
  const std::string block(256U << 10, 'x');
  for (std::size_t done = 0; done < bytes; done += block.size()) write(*pair.agent.stream, block);
  pair.agent.stream->finish();
  EXPECT_EQ(receiving.get(), bytes);
  const double took = seconds_since(start);
  std::printf("  %zu MiB one way in %.2f s: %.0f MB/s\n", bytes >> 20, took, static_cast<double>(bytes) / took / 1e6);
}

// The peer changes its keys and asks for ours to be changed, while both directions are busy.
TEST(Tls, KeyUpdatesUnderLoad) {
  auto [one, other] = socket_pair();
  const TlsCredentials credentials(with_ca("server"));
  auto connected = std::async(std::launch::async, [&, socket = std::move(one)]() mutable { return tls_connect(std::move(socket), credentials, "web1.example.org", 20); });
  RawPeer peer(std::move(other.fd), GNUTLS_SERVER, "agent");
  ASSERT_EQ(peer.handshake(), 0);
  const SecuredStream secured = connected.get();
  constexpr int rounds = 40;
  constexpr std::size_t round_bytes = 1U << 20;
  auto writing = std::async(std::launch::async, [&] {
    for (int i = 0; i < rounds; ++i) write(*secured.stream, std::string(round_bytes, 'w'));
  });
  auto reading = std::async(std::launch::async, [&] {
    std::size_t total = 0;
    std::string buffer(65'536, '\0');
    while (const std::size_t got = secured.stream->read_some(std::as_writable_bytes(std::span(buffer)))) total += got;
    return total;
  });
  // GnuTLS alone is not safe for two threads here: the peer takes turns in one. It bounds updates to 8 in a second.
  std::string block(16'384, 'r');
  std::size_t received = 0, sent = 0;
  for (int i = 0; i < rounds; ++i) {
    if (i % 10 == 0) {
      ASSERT_EQ(peer.patiently([&] { return gnutls_session_key_update(peer.session, GNUTLS_KU_PEER); }), 0);
    }
    for (std::size_t got = 0; got < round_bytes;) {
      const ssize_t count = peer.patiently([&] { return gnutls_record_recv(peer.session, block.data(), block.size()); });
      ASSERT_GT(count, 0) << gnutls_strerror(static_cast<int>(count));
      got += static_cast<std::size_t>(count);
      received += static_cast<std::size_t>(count);
      if (received == rounds * round_bytes) break;
    }
    for (int j = 0; j < 4; ++j) {
      const ssize_t count = peer.patiently([&] { return gnutls_record_send(peer.session, block.data(), block.size()); });
      ASSERT_GT(count, 0);
      sent += static_cast<std::size_t>(count);
    }
    if (received == rounds * round_bytes) break;
  }
  writing.get();
  EXPECT_EQ(received, rounds * round_bytes);
  peer.patiently([&] { return gnutls_bye(peer.session, GNUTLS_SHUT_WR); });
  EXPECT_EQ(reading.get(), sent);
}

TEST(PlainStream, CarriesBytesAndSaysWhatItIs) {
  auto [one, other] = socket_pair();
  const SecuredStream left = plain_stream(std::move(one), 5), right = plain_stream(std::move(other), 5);
  EXPECT_EQ(left.peer.plain, "unix");
  exchange(*left.stream, *right.stream, 64U << 20);
}

TEST(PlainStream, AbortWakesReader) {
  auto [one, other] = socket_pair();
  const SecuredStream left = plain_stream(std::move(one), 60);
  auto reading = std::async(std::launch::async, [&] { return failure_of([&] { read_all(*left.stream); }); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  left.stream->abort();
  EXPECT_EQ(reading.get().status(), ExitStatus::protocol);
}

TEST(PlainStream, StallIsAnError) {
  auto [one, other] = socket_pair();
  const SecuredStream left = plain_stream(std::move(one), 1);
  const Error error = failure_of([&] { read_all(*left.stream); });
  EXPECT_EQ(error.status(), ExitStatus::protocol);
  EXPECT_TRUE(has(error, "the peer sent nothing for 1 seconds")) << error.line();
}

}  // namespace
}  // namespace syncropy

#include "transport/tls-stream.hpp"

#include <gnutls/gnutls.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "transport/channel.hpp"
#include "transport/gnutls.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

// AES-128-GCM first: the fastest by far where the processor has AES instructions, and every server has.
// Of certificates by a CA at least 112 bits (RSA of 2,048): the default takes RSA of 1,024.
constexpr const char* priorities = "NORMAL:%PROFILE_MEDIUM:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305";
constexpr std::size_t record_bytes = 16'384;       // the most a TLS record holds (RFC 8446, 5.1)
constexpr std::size_t batch_bytes = 16 * record_bytes;
constexpr std::size_t receive_bytes = 256U << 10;
constexpr std::size_t most_stashed = 8U << 20;     // kept for the reader while a failed writer looks for an alert
constexpr std::chrono::seconds alert_patience{2};

// GnuTLS (manual, "Thread safety") lets one thread send while another receives, but not while keys are updated, which it does by
// itself after 2^24 records and whenever the peer asks. So every call on the session holds one lock; the session reads and writes
// memory, and the system calls, which wait, happen outside the lock.
class TlsStream : public ByteStream {
 public:
  TlsStream(Socket socket, TlsTerms terms, unsigned stall_seconds)
      : channel_(std::move(socket), terms.parties.them, stall_seconds), terms_(std::move(terms)), parties_(terms_.parties) {
    incoming_.resize(receive_bytes);
    const unsigned role = connects(parties_.us) ? unsigned{GNUTLS_CLIENT} : unsigned{GNUTLS_SERVER};
    check(gnutls_init(&session_, role | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS));
    try {
      set_up();
    } catch (...) {
      gnutls_deinit(session_);
      throw;
    }
  }
  ~TlsStream() override { gnutls_deinit(session_); }
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  PeerIdentity handshake(unsigned stall_seconds);
  std::size_t read_some(std::span<std::byte> into) override;
  void write_all(std::span<const std::byte> bytes) override;
  void finish() noexcept override;
  void abort() noexcept override { channel_.abort(); }

 private:
  static TlsStream& of(gnutls_transport_ptr_t pointer) { return *static_cast<TlsStream*>(pointer); }
  static ssize_t pull(gnutls_transport_ptr_t pointer, void* into, std::size_t size);
  static ssize_t push(gnutls_transport_ptr_t pointer, const void* bytes, std::size_t size);
  static int pull_timeout(gnutls_transport_ptr_t pointer, unsigned) { return of(pointer).has_input() ? 1 : 0; }
  static int verify(gnutls_session_t session);

  void set_up();
  void check(int code) const {
    check_gnutls(code, "set up a session");
  }
  [[nodiscard]] bool has_input() const { return at_ < filled_ || tcp_ended_; }
  // Waits for bytes of the peer. The caller holds reading_.
  void fill();
  void flush_handshake();
  void check_speaks_tls() const;
  [[noreturn]] void fail_handshake(int code);
  [[nodiscard]] Error handshake_error(int code);
  [[nodiscard]] Error record_error(int code);
  // Takes what the session can decrypt now; none where it needs more from the network. The caller holds reading_.
  [[nodiscard]] std::optional<std::size_t> decrypt(std::span<std::byte> into);
  void encrypt(std::span<const std::byte> bytes);
  [[nodiscard]] std::optional<Error> find_refusal();

  Channel channel_;
  TlsTerms terms_;
  Parties& parties_;
  gnutls_session_t session_ = nullptr;
  PeerVerdict verdict_;

  std::mutex using_session_;   // session_ and outgoing_
  std::string outgoing_;       // encrypted, not sent yet

  std::mutex reading_;         // all that follows
  std::string incoming_;       // [at_, filled_) has arrived and is not decrypted yet
  std::size_t at_ = 0, filled_ = 0;
  bool tcp_ended_ = false;
  bool ended_ = false;         // the peer's close-notify
  std::string stash_;          // decrypted, not read yet
  std::optional<Error> read_error_;

  std::mutex writing_;
  std::string sending_;
};

void TlsStream::set_up() {
  check(gnutls_priority_set_direct(session_, priorities, nullptr));
  check(gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, terms_.credentials->credentials.get()));
  gnutls_session_set_ptr(session_, this);
  gnutls_session_set_verify_function(session_, verify);
  gnutls_transport_set_ptr(session_, this);
  gnutls_transport_set_pull_function(session_, pull);
  gnutls_transport_set_push_function(session_, push);
  gnutls_transport_set_pull_timeout_function(session_, pull_timeout);
  if (!connects(parties_.us)) {
    gnutls_certificate_server_set_request(session_, terms_.peer_must_show ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST);
    // A peer that knows our CA's name would hold back a pinned certificate of its own.
    gnutls_certificate_send_x509_rdn_sequence(session_, 1);
  }
}

ssize_t TlsStream::pull(gnutls_transport_ptr_t pointer, void* into, std::size_t size) {
  TlsStream& self = of(pointer);
  const std::size_t take = std::min(size, self.filled_ - self.at_);
  if (take == 0 && !self.tcp_ended_) {
    gnutls_transport_set_errno(self.session_, EAGAIN);
    return -1;
  }
  std::memcpy(into, self.incoming_.data() + self.at_, take);
  self.at_ += take;
  return static_cast<ssize_t>(take);
}

ssize_t TlsStream::push(gnutls_transport_ptr_t pointer, const void* bytes, std::size_t size) {
  of(pointer).outgoing_.append(static_cast<const char*>(bytes), size);
  return static_cast<ssize_t>(size);
}

int TlsStream::verify(gnutls_session_t session) {
  auto& self = *static_cast<TlsStream*>(gnutls_session_get_ptr(session));
  if (!self.terms_.check) return GNUTLS_E_CERTIFICATE_ERROR;
  try {
    self.verdict_ = self.terms_.check(session);
  } catch (const std::exception& error) {  // must not pass through GnuTLS
    self.verdict_.refusal = Refusal{Error(ExitStatus::refused, "the certificate of " + self.parties_.them + " cannot be looked at (" + error.what() + ")"), GNUTLS_A_BAD_CERTIFICATE};
  }
  return self.verdict_.refusal ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

void TlsStream::fill() {
  at_ = 0;
  filled_ = 0;
  filled_ = channel_.receive(std::as_writable_bytes(std::span(incoming_)));
  tcp_ended_ = filled_ == 0;
}

void TlsStream::flush_handshake() {
  channel_.send_all(std::as_bytes(std::span(outgoing_)));
  outgoing_.clear();
}

// Only a handshake message or an alert may come first; anything else would end in one of several errors of GnuTLS that say less.
void TlsStream::check_speaks_tls() const {
  const auto first = static_cast<unsigned char>(incoming_[0]);
  if (filled_ > 0 && ((first != 22 && first != 21) || (filled_ > 1 && incoming_[1] != 3)))
    throw Error(ExitStatus::protocol, parties_.them + " does not speak TLS",
                parties_.us == Side::server ? "check 'port'; an agent without certificates needs 'ssl: no' here, which its policy must allow"
                : parties_.us == Side::agent ? "set 'ssl: yes' with certificates in the server's config"
                                             : "check that a Syncropy of a fitting version is there, and the port");
}

PeerIdentity TlsStream::handshake(unsigned stall_seconds) {
  channel_.set_deadline(std::chrono::steady_clock::now() + std::chrono::seconds(stall_seconds));
  for (bool first = true;;) {
    const int code = gnutls_handshake(session_);
    if (code == GNUTLS_E_SUCCESS) break;
    if (gnutls_error_is_fatal(code)) fail_handshake(code);
    try {
      flush_handshake();
    } catch (const Error&) {
      // It has closed: what it said before that, if anything, is next to be read and worth more.
      channel_.check_abort();
      outgoing_.clear();
    }
    if (code != GNUTLS_E_AGAIN || has_input()) continue;
    fill();
    if (first) check_speaks_tls();
    first = false;
  }
  flush_handshake();
  channel_.lift_deadline();
  // Whoever calls from here on knows the address.
  parties_.them = terms_.them_later;
  terms_.check = nullptr;  // whatever it refers to may go: TLS 1.3 has no second handshake
  channel_.call_peer(parties_.them);
  return verdict_.identity;
}

void TlsStream::fail_handshake(int code) {
  const Error error = verdict_.refusal ? verdict_.refusal->error : handshake_error(code);
  if (code == GNUTLS_E_FATAL_ALERT_RECEIVED || code == GNUTLS_E_PREMATURE_TERMINATION) throw error;
  // The peer is told before anything is closed.
  if (verdict_.refusal) gnutls_alert_send(session_, GNUTLS_AL_FATAL, verdict_.refusal->alert);
  else gnutls_alert_send_appropriate(session_, code);
  try {
    flush_handshake();
    channel_.end_sending();
    channel_.linger();
  } catch (const Error&) {
    // It is gone already; what counts is what was wrong.
  }
  throw error;
}

Error TlsStream::handshake_error(int code) {
  switch (code) {
    case GNUTLS_E_FATAL_ALERT_RECEIVED: return error_from_alert(gnutls_alert_get(session_), parties_);
    case GNUTLS_E_PREMATURE_TERMINATION:
      return Error(ExitStatus::protocol, parties_.them + " closed the connection during the TLS handshake", "look into its journal, and check that a Syncropy is there");
    case GNUTLS_E_CERTIFICATE_REQUIRED:
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
      return Error(ExitStatus::refused, parties_.them + " presented no certificate", "set 'sslcert' and 'sslkey' in its configuration");
    case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
    case GNUTLS_E_NO_CIPHER_SUITES:
      return Error(ExitStatus::protocol, parties_.them + " does not speak TLS 1.3", "check that a Syncropy of a fitting version is there");
    default: return Error(ExitStatus::protocol, std::string("the TLS handshake with ") + parties_.them + " failed (" + gnutls_strerror(code) + ")", "look into its journal");
  }
}

Error TlsStream::record_error(int code) {
  switch (code) {
    case GNUTLS_E_FATAL_ALERT_RECEIVED: return error_from_alert(gnutls_alert_get(session_), parties_);
    case GNUTLS_E_PREMATURE_TERMINATION:
      return Error(ExitStatus::protocol, "the connection to " + parties_.them + " was cut off", "look into its journal and at the network between, then run again");
    default:
      return Error(ExitStatus::protocol, "the TLS connection to " + parties_.them + " is broken (" + gnutls_strerror(code) + ")", "look into its journal and at the network between, then run again");
  }
}

std::optional<std::size_t> TlsStream::decrypt(std::span<std::byte> into) {
  const std::lock_guard lock(using_session_);
  std::size_t done = 0;
  for (unsigned interruptions = 0; done < into.size();) {
    const ssize_t got = gnutls_record_recv(session_, into.data() + done, into.size() - done);
    if (got > 0) {
      done += static_cast<std::size_t>(got);
      continue;
    }
    if (got == 0) {
      ended_ = true;
      break;
    }
    const int code = static_cast<int>(got);
    if (code == GNUTLS_E_AGAIN) {
      if (done > 0 || !has_input()) break;
    } else if (gnutls_error_is_fatal(code)) {
      read_error_ = record_error(code);
      break;
    }
    // A message of the handshake's kind (key update) was taken care of; a peer that sends nothing else is broken.
    if (++interruptions > 1'000) {
      read_error_ = record_error(GNUTLS_E_TOO_MANY_HANDSHAKE_PACKETS);
      break;
    }
  }
  if (done > 0) return done;
  if (read_error_) throw *read_error_;
  if (ended_) return 0;
  return std::nullopt;
}

std::size_t TlsStream::read_some(std::span<std::byte> into) {
  const std::lock_guard lock(reading_);
  channel_.check_abort();
  if (!stash_.empty()) {
    const std::size_t take = std::min(into.size(), stash_.size());
    std::memcpy(into.data(), stash_.data(), take);
    stash_.erase(0, take);
    return take;
  }
  for (;;) {
    if (read_error_) throw *read_error_;
    if (ended_) return 0;
    if (const std::optional<std::size_t> got = decrypt(into)) return *got;
    fill();
  }
}

void TlsStream::encrypt(std::span<const std::byte> bytes) {
  const std::lock_guard lock(using_session_);
  while (!bytes.empty()) {
    const ssize_t put = gnutls_record_send(session_, bytes.data(), std::min(bytes.size(), record_bytes));
    if (put < 0 && gnutls_error_is_fatal(static_cast<int>(put))) throw record_error(static_cast<int>(put));
    if (put > 0) bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  sending_.swap(outgoing_);
  outgoing_.clear();
}

void TlsStream::write_all(std::span<const std::byte> bytes) {
  const std::lock_guard lock(writing_);
  channel_.check_abort();
  while (!bytes.empty()) {
    const auto batch = bytes.first(std::min(bytes.size(), batch_bytes));
    try {
      encrypt(batch);
      channel_.send_all(std::as_bytes(std::span(sending_)));
    } catch (const Error&) {
      channel_.check_abort();
      // A peer that refuses us says so and closes; the write that fails for it should say why.
      if (const std::optional<Error> refusal = find_refusal()) throw *refusal;
      throw;
    }
    bytes = bytes.subspan(batch.size());
  }
}

// After a failed write: the alert that has arrived, if one has. Data that arrived before it is kept for the reader.
std::optional<Error> TlsStream::find_refusal() {
  // A reader that is waiting sees the broken connection too, and leaves.
  std::unique_lock lock(reading_, std::try_to_lock);
  for (const auto until = std::chrono::steady_clock::now() + alert_patience; !lock.owns_lock() && std::chrono::steady_clock::now() < until;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    static_cast<void>(lock.try_lock());
  }
  if (!lock.owns_lock()) return std::nullopt;
  std::string piece(record_bytes, '\0');
  while (!read_error_ && !ended_ && stash_.size() < most_stashed) {
    try {
      if (const auto got = decrypt(std::as_writable_bytes(std::span(piece)))) {
        stash_.append(piece, 0, *got);
        continue;
      }
    } catch (const Error&) {
      break;
    }
    at_ = 0;
    filled_ = channel_.receive_ready(std::as_writable_bytes(std::span(incoming_)));
    if (filled_ == 0) break;
  }
  return read_error_ && read_error_->status() == ExitStatus::refused ? read_error_ : std::nullopt;
}

void TlsStream::finish() noexcept {
  try {
    const std::lock_guard lock(writing_);
    {
      const std::lock_guard session_lock(using_session_);
      gnutls_bye(session_, GNUTLS_SHUT_WR);
      sending_.swap(outgoing_);
      outgoing_.clear();
    }
    channel_.send_all(std::as_bytes(std::span(sending_)));
    channel_.end_sending();
  } catch (const std::exception&) {
    // The peer is gone: it needs no farewell.
  }
}

std::function<PeerVerdict(gnutls_session_t)> by_settings(const TlsCredentials& credentials, std::vector<std::string> names, const Parties& parties) {
  return [state = credentials.state(), names = std::move(names), parties](gnutls_session_t session) { return check_peer(session, *state, names, parties); };
}

}  // namespace

SecuredStream secure(Socket socket, TlsTerms terms, unsigned stall_seconds) {
  auto stream = std::make_unique<TlsStream>(std::move(socket), std::move(terms), stall_seconds);
  SecuredStream secured;
  secured.peer = stream->handshake(stall_seconds);
  secured.stream = std::move(stream);
  return secured;
}

SecuredStream tls_connect(Socket socket, const TlsCredentials& credentials, const std::string& expected_name, unsigned stall_seconds) {
  const Parties parties{Side::server, "the agent at " + socket.peer};
  return secure(std::move(socket), {credentials.state(), by_settings(credentials, {expected_name}, parties), parties, "the agent"}, stall_seconds);
}

SecuredStream tls_accept(Socket socket, const TlsCredentials& credentials, const std::vector<std::string>& accepted_names, unsigned stall_seconds) {
  const Parties parties{Side::agent, "the server"};
  return secure(std::move(socket), {credentials.state(), by_settings(credentials, accepted_names, parties), parties, "the server"}, stall_seconds);
}

}  // namespace syncropy

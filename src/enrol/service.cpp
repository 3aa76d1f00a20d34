#include "enrol/service.hpp"

#include <chrono>
#include <thread>

#include "enrol/ca.hpp"
#include "model/dataset.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "transport/enrolment-tls.hpp"
#include "util/escape.hpp"
#include "wire/enrol-messages.hpp"
#include "wire/greeting.hpp"

namespace syncropy {
namespace {

constexpr unsigned stall_seconds = 10;
// A token has 128 random bits: nobody guesses one. This is so that trying costs nothing but the time of who tries.
constexpr std::chrono::seconds wait_after_guess{1};

std::string first_name(const IssuedToAgent& issued) { return escape(issued.entry.names.front()); }

class Service {
 public:
  Service(Socket socket, const std::string& folder, const Authority& authority, const std::vector<std::string>& names)
      : folder_(folder), secured_(accept_enrolment(std::move(socket), authority, names, stall_seconds)), in_(*secured_.stream, std::chrono::seconds(stall_seconds)), out_(*secured_.stream) {
    in_.take_at_most(limits::enrolment_frame_bytes);
  }

  void serve(const std::string& peer) {
    const Greeters who{"that machine", "this service"};
    if (!answer_greeting(in_, out_, "syncropy-enroll", who)) throw Error(ExitStatus::protocol, "it ended the connection without a word");
    Frame frame;
    if (!in_.next(frame)) throw Error(ExitStatus::protocol, "it ended the connection without a request");
    bool guessed = false;
    try {
      const bool renews = frame.type == MessageType::renew;
      const IssuedToAgent issued = renews ? renew(get_renewal_request(frame.payload)) : enrol(frame, guessed);
      ByteWriter message;
      put(message, Issued{issued.certificate, issued.servers, issued.revoked});
      // Before it is sent: what the CA has signed is in the journal, whatever becomes of the connection.
      log(Priority::notice, (renews ? "renewed the certificate of '" : "enrolled '") + first_name(issued) + "' for " + peer + ": certificate " + issued.entry.serial + ", until " + format_time(issued.entry.to),
          {{"SYNCROPY_CLIENT", first_name(issued)}, {"SYNCROPY_PEER", peer}, {"SYNCROPY_SERIAL", issued.entry.serial}}, message_id::certificate_issued);
      out_.send(MessageType::issued, message.view());
      out_.flush();
      secured_.stream->finish();
    } catch (const Error& error) {
      if (guessed) std::this_thread::sleep_for(wait_after_guess);
      if (error.status() == ExitStatus::refused || error.status() == ExitStatus::busy) end_session(in_, out_, error);
      throw;
    }
  }

 private:
  IssuedToAgent enrol(const Frame& frame, bool& guessed) const {
    if (frame.type != MessageType::enrol) throw Error(ExitStatus::protocol, "it sent a message that has no place in an enrolment");
    const EnrolRequest request = get_enrol_request(frame.payload);
    const CaFolder ca(folder_);
    return redeem(ca, request.secret, request.request, std::time(nullptr), guessed);
  }

  IssuedToAgent renew(const RenewalRequest& request) const {
    if (secured_.peer.expires == 0) throw Error(ExitStatus::refused, "a certificate is renewed for who shows the one it has, and this machine showed none", "enrol it: syncropy enroll NAME");
    const CaFolder ca(folder_);
    return renew_agent(ca, secured_.peer.serial, request.request, std::time(nullptr));
  }

  const std::string& folder_;
  SecuredStream secured_;
  FrameReader in_;
  FrameWriter out_;
};

// The service's own disk or folder is not what the peer is to blame for.
bool is_of_the_peer(const Error& error) { return error.status() == ExitStatus::refused || error.status() == ExitStatus::protocol || error.status() == ExitStatus::busy; }

}  // namespace

void serve_enrolment(Socket socket, const std::string& folder) {
  const std::string peer = escape(socket.peer);
  std::optional<CaFolder> ca(folder);
  const Authority authority = ca->authority();
  const std::vector<std::string> names = ca->servers();
  ca.reset();
  try {
    Service(std::move(socket), folder, authority, names).serve(peer);
  } catch (const Error& error) {
    if (!is_of_the_peer(error)) throw;
    const bool refused = error.status() == ExitStatus::refused;
    log(refused ? Priority::warning : Priority::info, peer + ": " + error.line(), {{"SYNCROPY_PEER", peer}}, refused ? message_id::enrolment_refused : std::string_view());
  }
}

}  // namespace syncropy

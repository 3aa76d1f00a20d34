#include "wire/greeting.hpp"

#include <unistd.h>

#include "util/escape.hpp"
#include "util/version.hpp"

namespace syncropy {

namespace {

Hello our_greeting(const std::string& software, std::uint64_t features) {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  Hello ours;
  ours.features = features;
  ours.software = software + " " + version;
  ours.host = host;
  return ours;
}

void send_greeting(FrameWriter& out, const Hello& ours) {
  ByteWriter message;
  put(message, ours);
  out.send(MessageType::hello, message.view());
  out.flush();
}

}  // namespace

void greet(FrameReader& in, FrameWriter& out, const std::string& software, bool compress, const std::string& us) {
  const Hello ours = our_greeting(software, compress ? std::uint64_t{feature_zstd} : 0);
  send_greeting(out, ours);
  Frame frame;
  if (!in.next(frame)) throw Error(ExitStatus::protocol, "it ended the connection instead of a greeting", "look into its journal");
  if (frame.type == MessageType::error) {
    const ErrorMessage message = get_error(frame.payload);
    throw Error(message.status, escape(message.text), escape(message.remedy));
  }
  if (frame.type != MessageType::hello) throw Error(ExitStatus::protocol, "it did not begin with a greeting", "check that it is a Syncropy of a fitting version");
  const Hello theirs = get_hello(frame.payload);
  if (theirs.version != protocol_version)
    throw Error(ExitStatus::protocol, "it speaks protocol " + std::to_string(theirs.version) + ", " + us + " speaks " + std::to_string(protocol_version), "upgrade the older of the two");
  if (theirs.features & ours.features & feature_zstd) {
    in.enable_compression();
    out.enable_compression();
  }
}

bool answer_greeting(FrameReader& in, FrameWriter& out, const std::string& software, const Greeters& who) {
  Frame frame;
  if (!in.next(frame)) return false;
  if (frame.type != MessageType::hello) throw Error(ExitStatus::protocol, who.them + " did not begin with a greeting", "check that it is a Syncropy of a fitting version");
  const Hello theirs = get_hello(frame.payload);
  if (theirs.version != protocol_version)
    end_session(in, out, Error(ExitStatus::protocol, who.them + " speaks protocol " + std::to_string(theirs.version) + ", " + who.us + " speaks " + std::to_string(protocol_version),
                               "upgrade the older of the two"));
  const Hello ours = our_greeting(software, theirs.features & feature_zstd);
  send_greeting(out, ours);
  if (ours.features & feature_zstd) {
    in.enable_compression();
    out.enable_compression();
  }
  return true;
}

void send_error(FrameWriter& out, const Error& error) {
  ByteWriter message;
  put(message, ErrorMessage{error.status(), error.what(), error.remedy()});
  out.send(MessageType::error, message.view());
  out.flush();
}

void end_session(FrameReader& in, FrameWriter& out, const Error& error) {
  send_error(out, error);
  try {
    Frame ignored;
    for (int left = 1'000; left > 0 && in.next(ignored); --left) {}
  } catch (const Error&) {
    // What counts is what it was told.
  }
  throw error;
}

}  // namespace syncropy

#include "wire/greeting.hpp"

#include <unistd.h>

#include "util/version.hpp"

namespace syncropy {

bool answer_greeting(FrameReader& in, FrameWriter& out, const std::string& software) {
  Frame frame;
  if (!in.next(frame)) return false;
  if (frame.type != MessageType::hello) throw Error(ExitStatus::protocol, "the server did not begin with a greeting", "check that it is a Syncropy of a fitting version");
  const Hello theirs = get_hello(frame.payload);
  if (theirs.version != protocol_version)
    end_session(in, out, Error(ExitStatus::protocol, "the server speaks protocol " + std::to_string(theirs.version) + ", this agent speaks " + std::to_string(protocol_version),
                               "upgrade the older of the two"));
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  Hello ours;
  ours.features = theirs.features & feature_zstd;
  ours.software = software + " " + version;
  ours.host = host;
  ByteWriter message;
  put(message, ours);
  out.send(MessageType::hello, message.view());
  out.flush();
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

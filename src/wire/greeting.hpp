#pragma once
// How a session begins, on both sides, and how the answering side ends one that it does not want.

#include <string>

#include "util/error.hpp"
#include "wire/frame.hpp"
#include "wire/messages.hpp"

namespace syncropy {

// Who is who in messages: "the server", "this agent".
struct Greeters {
  std::string them, us;
};

// Greets as the asking side, takes the answer, and packs from then on if both sides can. Throws Error: what the peer said instead of a greeting,
// or protocol ("it ..."); the caller says of whom.
void greet(FrameReader& in, FrameWriter& out, const std::string& software, bool compress, const std::string& us);

// Takes the asking side's greeting and answers it as `software`, with the features both have. False when the peer ended the connection
// instead. Throws Error(protocol), having told the peer, for another version; untold for what is no greeting.
[[nodiscard]] bool answer_greeting(FrameReader& in, FrameWriter& out, const std::string& software, const Greeters& who = {"the server", "this agent"});

void send_error(FrameWriter& out, const Error& error);

// Tells the peer, then throws `error` when the peer has ended the connection: closing with its requests unread would cut off what it is
// told.
[[noreturn]] void end_session(FrameReader& in, FrameWriter& out, const Error& error);

}  // namespace syncropy

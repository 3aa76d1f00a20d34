#pragma once
// The answering side of a session: how it greets, and how it ends one that it does not want.

#include <string>

#include "util/error.hpp"
#include "wire/frame.hpp"
#include "wire/messages.hpp"

namespace syncropy {

// Takes the asking side's greeting and answers it as `software`, with the features both have. False when the peer ended the connection
// instead. Throws Error(protocol), having told the peer, for another version; untold for what is no greeting.
[[nodiscard]] bool answer_greeting(FrameReader& in, FrameWriter& out, const std::string& software);

void send_error(FrameWriter& out, const Error& error);

// Tells the peer, then throws `error` when the peer has ended the connection: closing with its requests unread would cut off what it is
// told.
[[noreturn]] void end_session(FrameReader& in, FrameWriter& out, const Error& error);

}  // namespace syncropy

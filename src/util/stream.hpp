#pragma once
// A two-way stream of bytes between two peers: TLS, a plain socket, or a test's pipe.

#include <cstddef>
#include <span>

namespace syncropy {

// One thread may read while another writes. All failures throw Error with ExitStatus::protocol (cut, stalled) or
// ExitStatus::refused (the peer's certificate).
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Reads at least one byte into `into` (not empty) and returns how many; 0 is the peer's orderly end, which for TLS is
  // its close-notify and nothing less. Throws when nothing arrives within the stream's stall time.
  virtual std::size_t read_some(std::span<std::byte> into) = 0;
  // Writes all of `bytes`; throws when the peer takes nothing for the stall time.
  virtual void write_all(std::span<const std::byte> bytes) = 0;
  // Says the orderly end (close-notify). Does not throw: the peer may be gone.
  virtual void finish() noexcept = 0;
  // From any thread: makes a blocked or later read_some or write_all throw at once. Idempotent.
  virtual void abort() noexcept = 0;
};

}  // namespace syncropy

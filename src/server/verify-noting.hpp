#pragma once
// The end of a verification: which names in which datasets lead to what is damaged, and where that is noted.

#include "server/verify-findings.hpp"

namespace syncropy {

// Waits for the client's lock, so that no run is linking what is damaged into a dataset that is not there yet; then notes in all datasets of
// the client (repository/damage.hpp) what was found and what else shares a damaged file, takes away what was noted and is good again, and
// sends the spare to the trash. Fills the damage of `result`. Where there is nothing to note, and nothing noted, it does nothing.
void note_damage(ClientStore& store, const VerifyFindings& findings, const std::deque<VerifyDataset>& verified, unsigned lock_wait_seconds,
                 const std::function<void(std::uint64_t)>& on_bytes, VerifyResult& result);

}  // namespace syncropy

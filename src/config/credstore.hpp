#pragma once
// Credentials where the service manager passes none: root, by hand.

#include <optional>
#include <string>

namespace syncropy {

// What a unit with LoadCredential=NAME and LoadCredentialEncrypted=NAME.cred would get, for a process of root: the content of PLAIN/NAME, or of
// ENCRYPTED/NAME.cred as systemd-creds(1) decrypts it, as a file in memory that can be opened by the returned name as long as this process lives,
// whatever privileges it gives up; none where there is neither. Read once a process. Throws Error(config) where both are there, or it cannot be
// read or decrypted.
[[nodiscard]] std::optional<std::string> credential_in_store(const std::string& name, const std::string& plain = "/etc/credstore",
                                                             const std::string& encrypted = "/etc/credstore.encrypted");

}  // namespace syncropy

#pragma once
// Credentials where the service manager passes none: root, by hand.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace syncropy {

namespace limits {
inline constexpr std::size_t encrypted_credential_bytes = 1U << 20;  // systemd's own bound is a megabyte
}

// What a unit with LoadCredential=NAME and LoadCredentialEncrypted=NAME.cred would get, for a process of root: the content of PLAIN/NAME, or of
// ENCRYPTED/NAME.cred as systemd-creds(1) decrypts it, as a file in memory that can be opened by the returned name as long as this process lives,
// whatever privileges it gives up; none where there is neither. Read once a process. Throws Error(config) where both are there, or it cannot be
// read or decrypted.
[[nodiscard]] std::optional<std::string> credential_in_store(const std::string& name, const std::string& plain = "/etc/credstore",
                                                             const std::string& encrypted = "/etc/credstore.encrypted");

// `bytes` as systemd-creds(1) encrypts them on this machine for a unit with LoadCredentialEncrypted=NAME, by the kind of key (the machine's, its
// TPM's, both) that `like`, the content of such a file, was encrypted with. In memory all the way. Throws Error(config).
[[nodiscard]] std::string encrypted_credential(const std::string& bytes, const std::string& name, std::string_view like);

}  // namespace syncropy

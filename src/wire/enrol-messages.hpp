#pragma once
// The messages of an enrolment: syncropy-protocol(7), "Enrolment". Readers throw Error(protocol) like those of wire/messages.hpp.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "util/bytes.hpp"

namespace syncropy {

namespace limits {
inline constexpr std::size_t token_secret_bytes = 16;
inline constexpr std::size_t enrolment_der_bytes = 16U << 10;  // a request, a certificate
inline constexpr std::size_t enrolment_servers = 20;
inline constexpr std::size_t enrolment_list_bytes = 512U << 10;  // of what is revoked
inline constexpr std::size_t enrolment_frame_bytes = 64U << 10;  // of any message, before anything is known of the peer
}  // namespace limits

// A machine that has a token wants its first certificate.
struct EnrolRequest {
  std::string secret;   // exactly limits::token_secret_bytes
  std::string request;  // PKCS #10, DER
};
void put(ByteWriter& out, const EnrolRequest& message);
[[nodiscard]] EnrolRequest get_enrol_request(std::string_view payload);

// A machine that has shown its certificate wants the next one.
struct RenewalRequest {
  std::string request;  // PKCS #10, DER
};
void put(ByteWriter& out, const RenewalRequest& message);
[[nodiscard]] RenewalRequest get_renewal_request(std::string_view payload);

// The answer to both.
struct Issued {
  std::string certificate;           // DER
  std::vector<std::string> servers;  // the names of the servers that may back the machine up; at least one
  std::string revoked;               // which servers' certificates the CA has revoked: a list in PEM
};
void put(ByteWriter& out, const Issued& message);
[[nodiscard]] Issued get_issued(std::string_view payload);

}  // namespace syncropy

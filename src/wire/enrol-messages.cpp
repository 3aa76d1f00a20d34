#include "wire/enrol-messages.hpp"

namespace syncropy {
namespace {

constexpr std::size_t server_name_bytes = 253;

}  // namespace

void put(ByteWriter& out, const EnrolRequest& message) {
  out.put_raw(message.secret);
  out.put_string(message.request);
}

EnrolRequest get_enrol_request(std::string_view payload) {
  ByteReader in(payload, ExitStatus::protocol, "a request to enrol");
  EnrolRequest message;
  message.secret = in.raw(limits::token_secret_bytes);
  message.request = in.string_at_most(limits::enrolment_der_bytes);
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const RenewalRequest& message) { out.put_string(message.request); }

RenewalRequest get_renewal_request(std::string_view payload) {
  ByteReader in(payload, ExitStatus::protocol, "a request to renew");
  RenewalRequest message{std::string(in.string_at_most(limits::enrolment_der_bytes))};
  in.expect_end();
  return message;
}

void put(ByteWriter& out, const Issued& message) {
  out.put_string(message.certificate);
  out.put_unsigned(message.servers.size());
  for (const std::string& server : message.servers) out.put_string(server);
  out.put_string(message.revoked);
}

Issued get_issued(std::string_view payload) {
  ByteReader in(payload, ExitStatus::protocol, "the answer of the enrolment service");
  Issued message;
  message.certificate = in.string_at_most(limits::enrolment_der_bytes);
  message.servers.resize(in.unsigned_at_most(limits::enrolment_servers));
  if (message.servers.empty()) in.reject("names no server");
  for (std::string& server : message.servers) server = in.string_at_most(server_name_bytes);
  message.revoked = in.string_at_most(limits::enrolment_list_bytes);
  in.expect_end();
  return message;
}

}  // namespace syncropy

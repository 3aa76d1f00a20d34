#include "wire/enrol-messages.hpp"

#include <gtest/gtest.h>

#include "util/error.hpp"

namespace syncropy {
namespace {

template <typename Message>
std::string encode(const Message& message) {
  ByteWriter out;
  put(out, message);
  return out.take();
}

template <typename Get>
void expect_rejected(Get get, const std::string& bytes) {
  try {
    static_cast<void>(get(bytes));
    ADD_FAILURE() << bytes.size() << " bytes were taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::protocol);
  }
}

// Every beginning of a message is none, and so is one with a byte more.
template <typename Get>
void expect_whole_or_nothing(Get get, const std::string& bytes) {
  EXPECT_NO_THROW(static_cast<void>(get(bytes)));
  for (std::size_t size = 0; size < bytes.size(); ++size) expect_rejected(get, bytes.substr(0, size));
  expect_rejected(get, bytes + "x");
}

TEST(EnrolMessages, ComeBack) {
  const std::string secret = "0123456789abcdef";
  const EnrolRequest request = get_enrol_request(encode(EnrolRequest{secret, "a request"}));
  EXPECT_EQ(request.secret, secret);
  EXPECT_EQ(request.request, "a request");
  EXPECT_EQ(get_renewal_request(encode(RenewalRequest{"another"})).request, "another");
  const Issued issued = get_issued(encode(Issued{"a certificate", {"backup.test", "192.0.2.1"}, "a list"}));
  EXPECT_EQ(issued.certificate, "a certificate");
  EXPECT_EQ(issued.servers, (std::vector<std::string>{"backup.test", "192.0.2.1"}));
  EXPECT_EQ(issued.revoked, "a list");
}

TEST(EnrolMessages, AreWholeOrNothing) {
  expect_whole_or_nothing(get_enrol_request, encode(EnrolRequest{"0123456789abcdef", "a request"}));
  expect_whole_or_nothing(get_renewal_request, encode(RenewalRequest{"another"}));
  expect_whole_or_nothing(get_issued, encode(Issued{"a certificate", {"backup.test"}, "a list"}));
}

TEST(EnrolMessages, HaveBounds) {
  expect_rejected(get_enrol_request, encode(EnrolRequest{"0123456789abcdef", std::string(limits::enrolment_der_bytes + 1, 'x')}));
  expect_rejected(get_renewal_request, encode(RenewalRequest{std::string(limits::enrolment_der_bytes + 1, 'x')}));
  expect_rejected(get_issued, encode(Issued{"c", {}, ""}));
  expect_rejected(get_issued, encode(Issued{"c", std::vector<std::string>(limits::enrolment_servers + 1, "s"), ""}));
  expect_rejected(get_issued, encode(Issued{"c", {std::string(254, 's')}, ""}));
  expect_rejected(get_issued, encode(Issued{"c", {"s"}, std::string(limits::enrolment_list_bytes + 1, 'x')}));
  EXPECT_NO_THROW(static_cast<void>(get_enrol_request(encode(EnrolRequest{"0123456789abcdef", std::string(limits::enrolment_der_bytes, 'x')}))));
  // What a stranger may send at most holds the longest request.
  EXPECT_LT(encode(EnrolRequest{"0123456789abcdef", std::string(limits::enrolment_der_bytes, 'x')}).size(), limits::enrolment_frame_bytes);
}

}  // namespace
}  // namespace syncropy

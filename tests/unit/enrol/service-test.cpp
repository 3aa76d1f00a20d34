#include "enrol/service.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "enrol/ca.hpp"
#include "transport/enrolment-tls.hpp"
#include "util/error.hpp"
#include "util/file.hpp"
#include "wire/enrol-messages.hpp"
#include "wire/greeting.hpp"

namespace syncropy {
namespace {

// The service of a CA of its own, asked over a socket pair.
class Enrolment : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/syncropy-enrolment-test.XXXXXX";
    base_ = ::mkdtemp(pattern);
    identity_ = make_ca(folder(), {"backup.test"}, std::time(nullptr));
    invitation_ = invite(CaFolder(folder()), {"web1"}, std::chrono::hours(1), std::time(nullptr));
  }
  void TearDown() override { std::filesystem::remove_all(base_); }
  std::string folder() const { return base_ + "/ca"; }

  // What the service answers to one message; an Error is thrown as it was told.
  Issued ask(const std::function<EnrolmentChannel(Socket)>& connect, MessageType type, std::string_view payload) {
    auto [ours, theirs] = socket_pair();
    std::thread service([this, socket = std::move(theirs)]() mutable { serve_enrolment(std::move(socket), folder()); });
    try {
      EnrolmentChannel channel = connect(std::move(ours));
      FrameReader in(*channel.secured.stream);
      FrameWriter out(*channel.secured.stream);
      greet(in, out, "test", false, "this test");
      out.send(type, payload);
      out.flush();
      Frame frame;
      if (!in.next(frame)) throw Error(ExitStatus::protocol, "no answer");
      if (frame.type == MessageType::error) {
        const ErrorMessage told = get_error(frame.payload);
        throw Error(told.status, told.text, told.remedy);
      }
      channel.secured.stream->finish();
      service.join();
      return get_issued(frame.payload);
    } catch (...) {
      service.join();
      throw;
    }
  }
  Issued ask(MessageType type, std::string_view payload) { return ask(believing(invitation_.token), type, payload); }
  static std::function<EnrolmentChannel(Socket)> believing(const Token& token) {
    return [token](Socket socket) { return connect_to_enrolment(std::move(socket), std::span<const std::uint8_t, 16>(token.authority), 10); };
  }
  std::string enrolment(const Token& token) const {
    ByteWriter out;
    put(out, EnrolRequest{std::string(token.secret_bytes()), key_.request()});
    return std::string(out.view());
  }
  static Error failure_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error;
    }
    return Error(ExitStatus::success, "nothing was thrown");
  }
  void write(const std::string& name, const std::string& text) const {
    const Fd at(::open(base_.c_str(), O_RDONLY | O_DIRECTORY));
    replace_file(at.get(), name, text, 0600);
  }
  // What a machine that has a certificate connects with.
  std::function<EnrolmentChannel(Socket)> showing(const std::string& certificate, const std::string& key, const std::string& root) const {
    write("own.pem", key + certificate);
    write("root.pem", root);
    return [this](Socket socket) {
      TlsFiles own;
      own.certificate = own.key = base_ + "/own.pem";
      own.ca = base_ + "/root.pem";
      return connect_to_enrolment(std::move(socket), own, 10);
    };
  }
  std::string renewal() const {
    ByteWriter out;
    put(out, RenewalRequest{key_.request()});
    return std::string(out.view());
  }

  std::string base_;
  Identity identity_;
  Invitation invitation_;
  PrivateKey key_;
};

TEST_F(Enrolment, ATokenGetsACertificateAndWhatAPolicyNeeds) {
  const Issued issued = ask(MessageType::enrol, enrolment(invitation_.token));
  EXPECT_EQ(check_issued(issued.certificate, der_of_certificate(identity_.root, "root"), key_.id()).names, (std::vector<std::string>{"web1"}));
  EXPECT_EQ(issued.servers, (std::vector<std::string>{"backup.test"}));
  EXPECT_EQ(issued.revoked.find("-----BEGIN X509 CRL-----"), 0U);
  const Error again = failure_of([&] { static_cast<void>(ask(MessageType::enrol, enrolment(invitation_.token))); });
  EXPECT_EQ(again.status(), ExitStatus::refused);
  EXPECT_NE(again.line().find("was used already"), std::string::npos);
}

TEST_F(Enrolment, WhoGuessesWaits) {
  Token guessed = invitation_.token;
  guessed.secret[7] ^= 1;
  const auto begun = std::chrono::steady_clock::now();
  const Error refusal = failure_of([&] { static_cast<void>(ask(MessageType::enrol, enrolment(guessed))); });
  EXPECT_EQ(refusal.status(), ExitStatus::refused);
  EXPECT_NE(refusal.line().find("not known"), std::string::npos);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
  EXPECT_NO_THROW(static_cast<void>(ask(MessageType::enrol, enrolment(invitation_.token))));
}

// Who stands between has another CA, or the right one's certificate and not its key.
TEST_F(Enrolment, AnotherServiceHearsNothing) {
  const Identity other = make_ca(base_ + "/other", {"backup.test"}, std::time(nullptr));
  const Invitation foreign = invite(CaFolder(base_ + "/other"), {"web1"}, std::chrono::hours(1), std::time(nullptr));
  const Error refusal = failure_of([&] { static_cast<void>(ask(believing(foreign.token), MessageType::enrol, enrolment(foreign.token))); });
  EXPECT_EQ(refusal.status(), ExitStatus::refused);
  EXPECT_NE(refusal.line().find("its CA has another key, and nothing was sent to it"), std::string::npos) << refusal.line();
}

// The machine that it backs up could play the enrolment service of the same CA, if any certificate would do.
TEST_F(Enrolment, AnAgentDoesNotPassForTheService) {
  const Issued issued = ask(MessageType::enrol, enrolment(invitation_.token));
  write("agent.pem", key_.pem() + pem_of_certificate(issued.certificate) + identity_.root);
  TlsFiles files;
  files.certificate = files.key = base_ + "/agent.pem";
  files.pins = {base_ + "/agent.pem"};
  const TlsCredentials agent(files);
  auto [one, theirs] = socket_pair();
  Socket ours = std::move(one);
  std::thread impostor([&, socket = std::move(theirs)]() mutable {
    try {
      static_cast<void>(tls_accept(std::move(socket), agent, {}, 10));
    } catch (const Error&) {
    }
  });
  const Error refusal = failure_of([&] { static_cast<void>(believing(invitation_.token)(std::move(ours))); });
  impostor.join();
  EXPECT_EQ(refusal.status(), ExitStatus::refused);
  EXPECT_NE(refusal.line().find("not one of an enrolment service"), std::string::npos) << refusal.line();
}

TEST_F(Enrolment, ACertificateIsRenewedForWhoShowsIt) {
  const Issued first = ask(MessageType::enrol, enrolment(invitation_.token));
  const auto shown = showing(pem_of_certificate(first.certificate), key_.pem(), identity_.root);
  const Issued second = ask(shown, MessageType::renew, renewal());
  EXPECT_NE(facts_of_certificate(second.certificate).serial, facts_of_certificate(first.certificate).serial);
  static_cast<void>(revoke(CaFolder(folder()), "web1", std::time(nullptr)));
  EXPECT_NE(failure_of([&] { static_cast<void>(ask(shown, MessageType::renew, renewal())); }).line().find("was revoked on"), std::string::npos);
}

TEST_F(Enrolment, NothingIsRenewedForAnybodyElse) {
  EXPECT_NE(failure_of([&] { static_cast<void>(ask(MessageType::renew, renewal())); }).line().find("showed none"), std::string::npos);
  // The server's own certificate is for connecting, and no agent's.
  EXPECT_EQ(failure_of([&] { static_cast<void>(ask(showing(identity_.certificate, identity_.key, identity_.root), MessageType::renew, renewal())); }).status(), ExitStatus::refused);
  const Identity other = make_ca(base_ + "/other", {"backup.test"}, std::time(nullptr));
  const Authority foreign(other.root, read_file(AT_FDCWD, base_ + "/other/ca.key", 10'000, ExitStatus::data));
  const IssuedCertificate forged = foreign.issue(key_, {{"web1"}, Part::agent, std::time(nullptr) - 60, std::time(nullptr) + 3'600});
  EXPECT_EQ(failure_of([&] { static_cast<void>(ask(showing(pem_of_certificate(forged.der), key_.pem(), identity_.root), MessageType::renew, renewal())); }).status(), ExitStatus::refused);
}

TEST_F(Enrolment, RubbishEndsTheConnectionAndNothingElse) {
  for (const auto& [type, payload] : {std::pair{MessageType::list, std::string()}, std::pair{MessageType::enrol, std::string("x")}, std::pair{MessageType::renew, std::string(100, '\xff')},
                                      std::pair{MessageType::enrol, std::string(limits::enrolment_frame_bytes + 1, 'x')}})
    EXPECT_NE(failure_of([&, type = type, payload = payload] { static_cast<void>(ask(type, payload)); }).status(), ExitStatus::success);
  EXPECT_NO_THROW(static_cast<void>(ask(MessageType::enrol, enrolment(invitation_.token))));
}

}  // namespace
}  // namespace syncropy

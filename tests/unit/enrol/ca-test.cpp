#include "enrol/ca.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "util/error.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::time_t a_day = 86'400;

class Ca : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/syncropy-ca-test.XXXXXX";
    base_ = ::mkdtemp(pattern);
    server_ = make_ca(folder(), {"backup.test", "192.0.2.1"}, now_);
  }
  void TearDown() override { std::filesystem::remove_all(base_); }

  std::string folder() const { return base_ + "/ca"; }
  Invitation invite_at(std::time_t when, std::vector<std::string> names = {"web1"}, std::chrono::seconds life = std::chrono::hours(1)) {
    return invite(CaFolder(folder()), std::move(names), life, when);
  }
  IssuedToAgent redeem_at(std::time_t when, const Token& token) { return redeem(CaFolder(folder()), token.secret_bytes(), key_.request(), when, unknown_); }
  std::string refusal(std::time_t when, const Token& token) {
    try {
      static_cast<void>(redeem_at(when, token));
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::refused);
      EXPECT_FALSE(error.remedy().empty());
      return error.what();
    }
    return {};
  }
  std::string root_der() const { return der_of_certificate(server_.root, "root"); }

  std::string base_;
  const std::time_t now_ = std::time(nullptr);
  Identity server_;
  PrivateKey key_;
  bool unknown_ = false;
};

TEST_F(Ca, ItsFolderIsItsUsersAlone) {
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    struct stat st{};
    ASSERT_EQ(::stat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600U) << entry.path();
  }
  ASSERT_EQ(::chmod(folder().c_str(), 0750), 0);
  EXPECT_THROW(CaFolder{folder()}, Error);
}

TEST_F(Ca, IsMadeOnce) {
  try {
    static_cast<void>(make_ca(folder(), {"other.test"}, now_));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::conflict);
  }
  EXPECT_EQ(CaFolder(folder()).servers(), (std::vector<std::string>{"backup.test", "192.0.2.1"}));
}

TEST_F(Ca, ATokenIsGoodForOneCertificate) {
  const Invitation invitation = invite_at(now_, {"web1", "web1.test", "192.0.2.7", "2001:db8::7"});
  EXPECT_EQ(invitation.servers.front(), "backup.test");
  EXPECT_EQ(invitation.token.authority, new_token(facts_of_certificate(root_der()).key_id).authority);
  const IssuedToAgent issued = redeem_at(now_, invitation.token);
  EXPECT_FALSE(unknown_);
  const CertificateFacts facts = check_issued(issued.certificate, root_der(), key_.id());
  EXPECT_EQ(facts.names, (std::vector<std::string>{"web1", "web1.test"}));
  EXPECT_EQ(facts.serial, issued.entry.serial);
  EXPECT_EQ(facts.to, now_ + certificate_life);
  EXPECT_EQ(issued.servers, (std::vector<std::string>{"backup.test", "192.0.2.1"}));
  EXPECT_NE(refusal(now_, invitation.token).find("was used already"), std::string::npos);
  EXPECT_FALSE(unknown_);
}

TEST_F(Ca, ATokenExpires) {
  const Invitation invitation = invite_at(now_);
  EXPECT_NE(refusal(now_ + 3'600, invitation.token).find("expired on"), std::string::npos);
  EXPECT_EQ(refusal(now_ + 3'599, invitation.token), "");
}

TEST_F(Ca, ANewTokenReplacesTheOneThatIsOpen) {
  const Invitation first = invite_at(now_), other = invite_at(now_, {"web2"}), second = invite_at(now_);
  EXPECT_NE(refusal(now_, first.token).find("not known"), std::string::npos);
  EXPECT_TRUE(unknown_);
  EXPECT_EQ(refusal(now_, second.token), "");
  EXPECT_EQ(refusal(now_, other.token), "");
}

TEST_F(Ca, ARequestThatIsNoneLeavesTheTokenAsItWas) {
  const Invitation invitation = invite_at(now_);
  std::string forged = key_.request();
  forged.back() = static_cast<char>(forged.back() ^ 1);
  for (const std::string& request : {std::string(), std::string("no request"), forged, std::string(limits::request_bytes + 1, '\0')})
    EXPECT_THROW(static_cast<void>(redeem(CaFolder(folder()), invitation.token.secret_bytes(), request, now_, unknown_)), Error);
  EXPECT_EQ(refusal(now_, invitation.token), "");
}

TEST_F(Ca, TheFolderHoldsNoTokenAndNoClientsKey) {
  const Invitation invitation = invite_at(now_);
  static_cast<void>(redeem_at(now_, invitation.token));
  const std::string text = format_token(invitation.token);
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    const std::string bytes = read_file(AT_FDCWD, entry.path(), 1U << 20, ExitStatus::data);
    EXPECT_EQ(bytes.find(invitation.token.secret_bytes()), std::string::npos);
    EXPECT_EQ(bytes.find(text.substr(30, 20)), std::string::npos);
    EXPECT_EQ(bytes.find(key_.pem().substr(60, 40)), std::string::npos);
  }
}

TEST_F(Ca, RenewsWhatItKnowsAndHasNotRevoked) {
  const IssuedToAgent first = redeem_at(now_, invite_at(now_, {"web1", "web1.test"}).token);
  const PrivateKey next;
  const IssuedToAgent second = renew_agent(CaFolder(folder()), first.entry.serial, next.request(), now_ + 1);
  EXPECT_EQ(check_issued(second.certificate, root_der(), next.id()).names, (std::vector<std::string>{"web1", "web1.test"}));
  EXPECT_NE(second.entry.serial, first.entry.serial);
  EXPECT_THROW(static_cast<void>(renew_agent(CaFolder(folder()), "00", next.request(), now_)), Error);
  const CaFolder ca(folder());
  EXPECT_THROW(static_cast<void>(renew_agent(ca, ca.issued().front().serial, next.request(), now_)), Error) << "the server's own is no agent's";
}

TEST_F(Ca, OneNameGetsSoManyCertificatesADay) {
  IssuedToAgent held = redeem_at(now_, invite_at(now_).token);
  for (unsigned i = 1; i < certificates_a_day; ++i) held = renew_agent(CaFolder(folder()), held.entry.serial, key_.request(), now_);
  EXPECT_THROW(static_cast<void>(renew_agent(CaFolder(folder()), held.entry.serial, key_.request(), now_)), Error);
  EXPECT_NO_THROW(static_cast<void>(renew_agent(CaFolder(folder()), held.entry.serial, key_.request(), now_ + a_day + 1)));
}

TEST_F(Ca, RevokesEverythingOfAName) {
  const IssuedToAgent first = redeem_at(now_, invite_at(now_).token), second = renew_agent(CaFolder(folder()), first.entry.serial, key_.request(), now_);
  const IssuedToAgent other = redeem_at(now_, invite_at(now_, {"web2"}).token);
  const Invitation open = invite_at(now_);
  const Revocation revocation = revoke(CaFolder(folder()), "web1", now_);
  EXPECT_EQ(revocation.entries.size(), 2U);
  EXPECT_TRUE(revocation.token);
  EXPECT_EQ(revocation.revoked.find("-----BEGIN X509 CRL-----"), 0U);
  EXPECT_NE(refusal(now_, open.token), "");
  for (const std::string& serial : {first.entry.serial, second.entry.serial})
    EXPECT_THROW(static_cast<void>(renew_agent(CaFolder(folder()), serial, key_.request(), now_)), Error);
  EXPECT_NO_THROW(static_cast<void>(renew_agent(CaFolder(folder()), other.entry.serial, key_.request(), now_)));
  EXPECT_TRUE(revoke(CaFolder(folder()), "web1", now_).entries.empty());
  EXPECT_EQ(revoke(CaFolder(folder()), other.entry.serial, now_).entries.size(), 1U);
}

TEST_F(Ca, TheServersCertificateIsRenewedWhenItIsDue) {
  EXPECT_FALSE(renew_server(CaFolder(folder()), false, now_ + 200 * a_day).identity);
  EXPECT_TRUE(renew_server(CaFolder(folder()), true, now_).identity);
  const ServerRenewal due = renew_server(CaFolder(folder()), false, now_ + 300 * a_day);
  ASSERT_TRUE(due.identity);
  EXPECT_FALSE(due.root);
  EXPECT_EQ(due.expires, now_ + 300 * a_day + certificate_life);
}

// What the old root signed the new one has signed too: it has the same key and name.
TEST_F(Ca, TheRootIsRenewedWithItsKey) {
  const IssuedToAgent agent = redeem_at(now_, invite_at(now_).token);
  const CaFolder ca(folder());
  Authority authority = ca.authority();
  const Digest key = authority.key_id();
  authority.renew(now_ - a_day, now_ + 2 * root_life);
  ca.write_root(authority);
  EXPECT_EQ(ca.authority().key_id(), key);
  EXPECT_GT(ca.authority().to(), now_ + root_life);
  EXPECT_NO_THROW(static_cast<void>(check_issued(agent.certificate, ca.authority().certificate_der(), key_.id())));
}

TEST_F(Ca, AnotherCasCertificateIsNotTaken) {
  const IssuedToAgent agent = redeem_at(now_, invite_at(now_).token);
  const Identity other = make_ca(base_ + "/other", {"backup.test"}, now_);
  EXPECT_THROW(static_cast<void>(check_issued(agent.certificate, der_of_certificate(other.root, "root"), key_.id())), Error);
  EXPECT_THROW(static_cast<void>(check_issued(agent.certificate, root_der(), PrivateKey().id())), Error);
  EXPECT_THROW(static_cast<void>(check_issued(der_of_certificate(server_.certificate, "server"), root_der(), facts_of_certificate(der_of_certificate(server_.certificate, "server")).key_id)), Error)
      << "a server's is no agent's";
}

TEST_F(Ca, DamageIsToldWithFileAndLine) {
  const std::string good = read_file(AT_FDCWD, folder() + "/issued", 1U << 20, ExitStatus::data);
  for (const std::string& line : {std::string("zz agent 1 2 - web1"), std::string("ab other 1 2 - web1"), std::string("ab agent 1 2 -"), std::string("ab agent x 2 - web1"), std::string("ab agent 1 2 - a b"),
                                  std::string("ab agent 1 2 - ../x"), std::string("")}) {
    CaFolder ca(folder());
    const Fd at(::open(folder().c_str(), O_RDONLY | O_DIRECTORY));
    replace_file(at.get(), "issued", good + line + "\n", 0600);
    try {
      static_cast<void>(ca.issued());
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::data);
      EXPECT_NE(std::string(error.what()).find("/issued:2"), std::string::npos) << error.what();
    }
  }
}

TEST_F(Ca, OneAtATime) {
  const CaFolder held(folder());
  const Fd lock(::open((folder() + "/lock").c_str(), O_RDWR));
  EXPECT_NE(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
}

}  // namespace
}  // namespace syncropy

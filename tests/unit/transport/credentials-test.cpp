#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "test-keys.hpp"
#include "transport/tls.hpp"
#include "util/error.hpp"

namespace syncropy {
namespace {

Error failure_of(const TlsFiles& files) {
  try {
    const TlsCredentials credentials(files);
  } catch (const Error& error) {
    return error;
  }
  return Error(ExitStatus::success, "nothing was thrown");
}

bool has(const Error& error, std::string_view text) { return error.line().find(text) != std::string::npos; }

std::string file(const std::string& name) { return cast().keys.path(name); }

TlsFiles good() { return {file("server.crt"), file("server.key"), {}, file("ca.crt"), {}}; }

// The key of "server", encrypted under "s3cret": by PKCS#8 and in the traditional form of `openssl genrsa -des3`.
std::string encrypted_key(bool traditional) {
  const std::string name = traditional ? "traditional.key" : "pkcs8.key";
  const std::string source = file("server.key");
  const std::string command = traditional ? "openssl ec -in " + source + " -des3 -passout pass:s3cret -out " + file(name) + " 2>/dev/null"
                                          : "openssl pkcs8 -topk8 -in " + source + " -passout pass:s3cret -out " + file(name) + " 2>/dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return file(name);
}

TEST(TlsCredentials, Loads) { EXPECT_EQ(failure_of(good()).status(), ExitStatus::success); }

TEST(TlsCredentials, KeyMayStandInTheCertificatesFile) {
  // As the classic README makes it: key, certificate, and DH parameters behind.
  cast().keys.write("classic.pem", cast().keys.read("server.key") + cast().keys.read("server.crt") +
                                       "-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQM=\n-----END DH PARAMETERS-----\n");
  TlsFiles files = good();
  files.certificate = file("classic.pem");
  files.key.clear();
  EXPECT_EQ(failure_of(files).line(), "nothing was thrown");
}

TEST(TlsCredentials, MissingFileIsNoInput) {
  for (std::string TlsFiles::*member : {&TlsFiles::certificate, &TlsFiles::key, &TlsFiles::ca}) {
    TlsFiles files = good();
    files.*member = "/nowhere/x.pem";
    const Error error = failure_of(files);
    EXPECT_EQ(error.status(), ExitStatus::no_input);
    EXPECT_TRUE(has(error, "/nowhere/x.pem (No such file or directory)")) << error.line();
    EXPECT_FALSE(error.remedy().empty());
  }
}

TEST(TlsCredentials, UnreadableIsRefused) {
  if (::geteuid() == 0) {
    TlsFiles files = good();
    files.key = file("");  // root reads everything: a folder stands for what cannot be read
    EXPECT_EQ(failure_of(files).status(), ExitStatus::refused);
    return;
  }
  cast().keys.write("unreadable.key", cast().keys.read("server.key"));
  ASSERT_EQ(::chmod(file("unreadable.key").c_str(), 0), 0);
  TlsFiles files = good();
  files.key = file("unreadable.key");
  const Error error = failure_of(files);
  EXPECT_EQ(error.status(), ExitStatus::refused);
  EXPECT_TRUE(has(error, "Permission denied")) << error.line();
}

TEST(TlsCredentials, NotPem) {
  cast().keys.write("prose.crt", "Not a certificate at all.\n");
  for (std::string TlsFiles::*member : {&TlsFiles::certificate, &TlsFiles::key, &TlsFiles::ca}) {
    TlsFiles files = good();
    files.*member = file("prose.crt");
    const Error error = failure_of(files);
    EXPECT_EQ(error.status(), ExitStatus::refused);
    EXPECT_TRUE(has(error, "prose.crt")) << error.line();
    EXPECT_TRUE(has(error, "-----BEGIN")) << error.line();
  }
}

TEST(TlsCredentials, DamagedPem) {
  cast().keys.write("damaged.crt", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
  TlsFiles files = good();
  files.certificate = file("damaged.crt");
  EXPECT_EQ(failure_of(files).status(), ExitStatus::refused);
  cast().keys.write("damaged.key", "-----BEGIN PRIVATE KEY-----\nMIIB\n");
  files = good();
  files.key = file("damaged.key");
  EXPECT_EQ(failure_of(files).status(), ExitStatus::refused);
}

TEST(TlsCredentials, EncryptedKeyWithItsPassword) {
  for (const bool traditional : {false, true}) {
    TlsFiles files = good();
    files.key = encrypted_key(traditional);
    files.password = "s3cret";
    EXPECT_EQ(failure_of(files).line(), "nothing was thrown");
  }
}

TEST(TlsCredentials, WrongAndMissingPasswordsAreToldApart) {
  for (const bool traditional : {false, true}) {
    TlsFiles files = good();
    files.key = encrypted_key(traditional);
    Error error = failure_of(files);
    EXPECT_EQ(error.status(), ExitStatus::refused);
    EXPECT_TRUE(has(error, "is encrypted, and no password is set")) << error.line();
    for (int i = 0; i < 300; ++i) {  // one in 256 wrong passwords looks right to the padding of the traditional form
      files.password = "guess " + std::to_string(i);
      error = failure_of(files);
      ASSERT_EQ(error.status(), ExitStatus::refused);
      ASSERT_TRUE(has(error, "the password does not open")) << error.line();
      if (!traditional && i > 2) break;
    }
  }
}

TEST(TlsCredentials, PasswordOfAPlainKeyIsIgnored) {
  TlsFiles files = good();
  files.password = "not needed";
  EXPECT_EQ(failure_of(files).line(), "nothing was thrown");
}

TEST(TlsCredentials, KeyOfAnotherCertificate) {
  TlsFiles files = good();
  files.key = file("agent.key");
  const Error error = failure_of(files);
  EXPECT_EQ(error.status(), ExitStatus::refused);
  EXPECT_TRUE(has(error, "does not belong to the certificate")) << error.line();
}

TEST(TlsCredentials, OwnCertificateOutOfItsTime) {
  for (const auto& [name, text] : {std::pair("expired", "expired on 20"), std::pair("early", "is not valid before 20")}) {
    TlsFiles files = good();
    files.certificate = file(std::string(name) + ".crt");
    files.key = file(std::string(name) + ".key");
    const Error error = failure_of(files);
    EXPECT_EQ(error.status(), ExitStatus::refused);
    EXPECT_TRUE(has(error, text)) << error.line();
  }
}

TEST(TlsCredentials, NobodyToBelieve) {
  TlsFiles files = good();
  files.ca.clear();
  EXPECT_TRUE(has(failure_of(files), "neither a CA nor a pinned certificate"));
  files.certificate.clear();
  EXPECT_TRUE(has(failure_of(files), "no certificate is set"));
}

}  // namespace
}  // namespace syncropy

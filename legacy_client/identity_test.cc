#include "legacy_client/identity.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "legacy_client/key_pair.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::StatusIs;

class IdentityTest : public ::testing::Test {
 protected:
  IdentityTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "/identity_test.XXXXXX");
    dir_ = mkdtemp(pattern.data());
  }
  ~IdentityTest() override { std::filesystem::remove_all(dir_); }

  void Write(absl::string_view name, absl::string_view text) const {
    std::ofstream(absl::StrCat(dir_, "/", name)) << text;
  }
  std::string Read(absl::string_view name) const {
    std::stringstream text;
    text << std::ifstream(absl::StrCat(dir_, "/", name)).rdbuf();
    return text.str();
  }

  std::string dir_;
  const ClientId id_ = *ClientId::FromBytes("\x10\x20zyxwvutsrqponm");
};

TEST_F(IdentityTest, IsNothingBeforeTheFirstRun) {
  const auto identity = LoadIdentity(dir_);
  ASSERT_OK(identity);
  EXPECT_FALSE(identity->has_value());
}

TEST_F(IdentityTest, IsWrittenAsTheOldClientsWriteIt) {
  ASSERT_OK(SaveIdentity(dir_, {"laptop 7", id_, "secret"}));
  EXPECT_EQ(Read("me.info"), "laptop 7\n10207a797877767574737271706f6e6d\nc2VjcmV0\n");
  EXPECT_EQ(Read("priv.key"), "c2VjcmV0\n");
}

TEST_F(IdentityTest, IsReadBackAsItWasWritten) {
  ASSERT_OK(SaveIdentity(dir_, {"old", ClientId(), "older key"}));
  ASSERT_OK(SaveIdentity(dir_, {"laptop 7", id_, "secret"}));
  const auto identity = LoadIdentity(dir_);
  ASSERT_OK(identity);
  ASSERT_TRUE(identity->has_value());
  EXPECT_EQ((*identity)->name, "laptop 7");
  EXPECT_EQ((*identity)->id, id_);
  EXPECT_EQ((*identity)->private_key, "secret");
}

TEST_F(IdentityTest, IsForItsOwnerOnlyAndLeavesNothingBeside) {
  Write("me.info.new", "left by a crash");
  ASSERT_OK(SaveIdentity(dir_, {"name", id_, "secret"}));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    struct stat info;
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 2);
}

TEST_F(IdentityTest, KeyMayBeBrokenIntoLines) {
  Write("me.info", "name\r\n10207A797877767574737271706F6E6D\r\nc2Vj\r\ncmV0\r\n");
  const auto identity = LoadIdentity(dir_);
  ASSERT_OK(identity);
  EXPECT_EQ((*identity)->private_key, "secret");
  EXPECT_EQ((*identity)->id, id_);
}

TEST_F(IdentityTest, KeyIsFoundInPrivKeyIfMeInfoHasNone) {
  Write("me.info", "name\n10207a797877767574737271706f6e6d\n");
  EXPECT_THAT(LoadIdentity(dir_), StatusIs(absl::StatusCode::kInvalidArgument));
  Write("priv.key", "c2VjcmV0");
  const auto identity = LoadIdentity(dir_);
  ASSERT_OK(identity);
  EXPECT_EQ((*identity)->private_key, "secret");
}

TEST_F(IdentityTest, IsRefusedWhenItCannotBeUnderstood) {
  for (const absl::string_view text :
       {"", "name", "name\nshort\nc2VjcmV0\n", "name\n10207a797877767574737271706f6e6g\nc2VjcmV0\n",
        "\n10207a797877767574737271706f6e6d\nc2VjcmV0\n",
        "name\n10207a797877767574737271706f6e6d\n***\n"}) {
    Write("me.info", text);
    EXPECT_THAT(LoadIdentity(dir_), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST_F(IdentityTest, SavingFailsInAFolderThatIsNotThere) {
  EXPECT_FALSE(SaveIdentity(absl::StrCat(dir_, "/none"), {"name", id_, "secret"}).ok());
}

TEST(KeyPair, HasAPublicKeyOf160BytesAndSurvivesItsDer) {
  const KeyPair made = KeyPair::Generate();
  EXPECT_EQ(made.PublicDer(PublicKeyForm::kSpki).size(), 160u);
  const auto read = KeyPair::FromPrivateDer(made.PrivateDer());
  ASSERT_OK(read);
  EXPECT_EQ(read->PublicDer(PublicKeyForm::kSpki), made.PublicDer(PublicKeyForm::kSpki));
}

TEST(KeyPair, HasShorterFormsOfThePublicKey) {
  const KeyPair made = KeyPair::Generate();
  const std::string spki = made.PublicDer(PublicKeyForm::kSpki);
  const std::string padded = made.PublicDer(PublicKeyForm::kSpkiPadded);
  // Two headers, the NULL, and the rest: the same bits.
  EXPECT_EQ(padded.substr(16), spki.substr(18));
  EXPECT_EQ(made.PublicDer(PublicKeyForm::kPkcs1), spki.substr(22));
}

TEST(KeyPair, RefusesWhatIsNoKeyAndWhatIsNotForIt) {
  EXPECT_THAT(KeyPair::FromPrivateDer("no key"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(KeyPair::Generate().Decrypt(std::string(128, 'x')),
              StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace backup::legacy_client

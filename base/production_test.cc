#include "base/production.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "base/exit_code.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uid_t kUser = 1000;
constexpr uid_t kSomebodyElse = 1001;

ProductionSettings Good() {
  ProductionSettings settings;
  settings.address = "--listen=ADDRESS";
  settings.tls_flag = "--tls_cert_file";
  settings.user = kUser;
  return settings;
}

// What is on and off in combination number `bits`.
ProductionSettings Combination(unsigned bits) {
  ProductionSettings settings = Good();
  for (bool* const flag :
       {&settings.debug, &settings.corrupt_checksums, &settings.insecure_grpc,
        &settings.address_is_local, &settings.has_tls, &settings.reflection,
        &settings.master_key_is_beside_data, &settings.allow_master_key_beside_data}) {
    *flag = (bits & 1) != 0;
    bits >>= 1;
  }
  return settings;
}
constexpr unsigned kCombinations = 1 << 8;

struct Rule {
  const char* named;  // In the fault.
  std::function<bool(const ProductionSettings&)> is_broken;
};

TEST(ProductionFaults, AreAllThatIsNotFitInEachCombinationOfFlags) {
  using Settings = ProductionSettings;
  const Rule rules[] = {
      {"--debug ", [](const Settings& s) { return s.debug; }},
      {"--corrupt_checksums=true ", [](const Settings& s) { return s.corrupt_checksums; }},
      {"--insecure_grpc ", [](const Settings& s) { return s.insecure_grpc; }},
      {"--listen=ADDRESS would be plaintext",
       [](const Settings& s) { return !s.address_is_local && !s.has_tls; }},
      {"--grpc_reflection=on ",
       [](const Settings& s) { return !s.address_is_local && s.reflection; }},
      {"the master key is in --data_dir",
       [](const Settings& s) {
         return s.master_key_is_beside_data && !s.allow_master_key_beside_data;
       }},
  };
  for (unsigned bits = 0; bits < kCombinations; ++bits) {
    const ProductionSettings settings = Combination(bits);
    const std::vector<std::string> faults = ProductionFaults(settings);
    size_t expected = 0;
    for (const Rule& rule : rules) {
      const auto named = [&](const std::string& fault) {
        return absl::StartsWith(fault, rule.named);
      };
      const bool is_broken = rule.is_broken(settings);
      EXPECT_EQ(std::count_if(faults.begin(), faults.end(), named), is_broken ? 1 : 0)
          << rule.named << " " << bits;
      expected += is_broken ? 1 : 0;
    }
    EXPECT_EQ(faults.size(), expected) << bits;
    EXPECT_EQ(CheckProduction(settings).ok(), expected == 0) << bits;
  }
}

TEST(ProductionFaults, OfAFileAreItsModeAndItsOwner) {
  for (const uid_t owner : {uid_t{0}, kUser, kSomebodyElse}) {
    for (mode_t mode = 0; mode <= 0777; ++mode) {
      ProductionSettings settings = Good();
      settings.secrets = {{"--tls_key_file", "/etc/key", FileRights{owner, mode}, {}}};
      const std::vector<std::string> faults = ProductionFaults(settings);
      const size_t expected = ((mode & 077) != 0 ? 1u : 0u) + (owner == kSomebodyElse ? 1u : 0u);
      ASSERT_EQ(faults.size(), expected) << owner << " " << std::oct << mode;
      for (const std::string& fault : faults)
        EXPECT_THAT(fault, ::testing::StartsWith("--tls_key_file=/etc/key "));
    }
  }
}

TEST(ProductionFaults, OfAFolderAreThatOthersCanExchangeTheFile) {
  for (const uid_t owner : {uid_t{0}, kUser, kSomebodyElse}) {
    for (mode_t mode = 0; mode <= 01777; ++mode) {
      ProductionSettings settings = Good();
      settings.secrets = {{"--tls_key_file",
                           "/etc/key",
                           FileRights{kUser, 0600},
                           {{"/etc", FileRights{owner, mode}}}}};
      const bool is_open = (mode & 022) != 0 && (mode & 01000) == 0;
      ASSERT_EQ(ProductionFaults(settings).size(),
                (is_open ? 1u : 0u) + (owner == kSomebodyElse ? 1u : 0u))
          << owner << " " << std::oct << mode;
    }
  }
}

TEST(ProductionFaults, AreNoneOfAFileThatIsNotThereYet) {
  ProductionSettings settings = Good();
  settings.secrets = {{"--master_key_file", "/etc/key", std::nullopt, {}}};
  EXPECT_THAT(ProductionFaults(settings), IsEmpty());
}

TEST(ProductionFaults, LeaveACredentialToTheGroupForReadingOnly) {
  for (mode_t mode = 0; mode <= 0777; ++mode) {
    ProductionSettings settings = Good();
    settings.secrets = {
        {"--master_key_credential", "/run/credentials/unit/key", FileRights{0, mode}, {}, true}};
    ASSERT_EQ(ProductionFaults(settings).empty(), (mode & 037) == 0) << std::oct << mode;
  }
}

TEST(CheckProduction, TellsAllInOneLineOfABadConfiguration) {
  ProductionSettings settings = Good();
  EXPECT_OK(CheckProduction(settings));
  settings.debug = true;
  settings.insecure_grpc = true;
  settings.secrets = {{"--tls_key_file", "/etc/key", FileRights{kSomebodyElse, 0644}, {}}};
  const absl::Status status = CheckProduction(settings);
  EXPECT_EQ(ExitCodeOf(status), kExitBadConfiguration);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("--production: --debug "), HasSubstr("; --insecure_grpc "),
                    HasSubstr("; --tls_key_file=/etc/key is open to others (mode 0644): chmod 600"),
                    HasSubstr("; --tls_key_file=/etc/key belongs to user 1001: chown"),
                    Not(HasSubstr("\n"))));
}

class SecretFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"/keys", "/links", "/data"})
      std::filesystem::create_directory(folder_ + name);
    Make("/keys/key", 0640);
    std::filesystem::create_symlink(folder_ + "/keys/key", folder_ + "/links/key");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Make(const std::string& name, mode_t mode) const {
    std::ofstream(folder_ + name) << "secret";
    ASSERT_EQ(::chmod((folder_ + name).c_str(), mode), 0);
  }

  static std::string MakeFolder() {
    std::string name = ::testing::TempDir() + "production_testXXXXXX";
    return ::mkdtemp(name.data());
  }

  const std::string folder_ = std::filesystem::canonical(MakeFolder());
};

TEST_F(SecretFileTest, IsFoundWithItsRightsAndThoseOfItsFolder) {
  ASSERT_EQ(::chmod((folder_ + "/keys").c_str(), 0770), 0);
  const SecretFile found = FindSecretFile("--flag", folder_ + "/keys/key");
  ASSERT_TRUE(found.rights.has_value());
  EXPECT_EQ(found.rights->mode, 0640u);
  EXPECT_EQ(found.rights->owner, ::geteuid());
  ASSERT_EQ(found.folders.size(), 1u);
  EXPECT_EQ(found.folders[0].path, folder_ + "/keys");
  EXPECT_EQ(found.folders[0].rights.mode, 0770u);
  EXPECT_FALSE(found.group_may_read);
}

TEST_F(SecretFileTest, BehindALinkIsInTwoFolders) {
  const SecretFile found = FindSecretFile("--flag", folder_ + "/links/key");
  ASSERT_TRUE(found.rights.has_value());
  EXPECT_EQ(found.rights->mode, 0640u);  // Not the link's.
  std::vector<std::string> folders;
  for (const SecretFile::Folder& folder : found.folders) folders.push_back(folder.path);
  EXPECT_THAT(folders, ElementsAre(folder_ + "/links", folder_ + "/keys"));
}

TEST_F(SecretFileTest, NeedNotBeThere) {
  EXPECT_FALSE(FindSecretFile("--flag", folder_ + "/keys/none").rights.has_value());
  EXPECT_EQ(FindSecretFile("--flag", folder_ + "/keys/none").folders.size(), 1u);
  EXPECT_THAT(FindSecretFile("--flag", folder_ + "/none/none").folders, IsEmpty());
}

TEST_F(SecretFileTest, BelowTheFolderOfCredentialsIsACredential) {
  ASSERT_EQ(::setenv("CREDENTIALS_DIRECTORY", (folder_ + "/keys").c_str(), 1), 0);
  EXPECT_TRUE(FindSecretFile("--flag", folder_ + "/keys/key").group_may_read);
  EXPECT_FALSE(FindSecretFile("--flag", folder_ + "/data/key").group_may_read);
  ASSERT_EQ(::unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

TEST_F(SecretFileTest, IsInAFolderWhereverLinksLead) {
  std::filesystem::create_directory_symlink(folder_ + "/data", folder_ + "/links/data");
  std::filesystem::create_symlink(folder_ + "/keys/key", folder_ + "/data/link");
  std::filesystem::create_symlink(folder_ + "/data/inner", folder_ + "/links/inner");
  Make("/data/inner", 0600);
  const std::string data = folder_ + "/data";
  for (const char* inside : {"/data/inner", "/data/missing", "/data/below/missing", "/links/inner",
                             "/links/data/inner", "/keys/../data/inner", "/data//inner"}) {
    EXPECT_TRUE(IsInFolder(folder_ + inside, data)) << inside;
    EXPECT_TRUE(IsInFolder(folder_ + inside, data + "/")) << inside;
  }
  for (const char* outside :
       {"/data/link", "/keys/key", "/data2/key", "/data/../keys/key", "/missing/key"}) {
    EXPECT_FALSE(IsInFolder(folder_ + outside, data)) << outside;
  }
  EXPECT_TRUE(IsInFolder("data/key", std::filesystem::current_path() / "data"));
  EXPECT_TRUE(IsInFolder(std::filesystem::current_path() / "data/key", "data"));
}

}  // namespace
}  // namespace backup

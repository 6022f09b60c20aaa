#include "storage/s3/credentials.h"

#include <fstream>
#include <map>

#include "absl/strings/match.h"
#include "base/testing/status_matchers.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage::s3 {
namespace {

using testing::StatusIs;

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsOptions Options() {
    CredentialsOptions options;
    options.environment = [this](const char* name) -> const char* {
      const auto found = environment_.find(name);
      return found == environment_.end() ? nullptr : found->second.c_str();
    };
    return options;
  }

  std::string Write(const std::string& name, const std::string& key,
                    const std::string& profile = "default") {
    const std::string path = folder_.path() + "/" + name;
    std::ofstream(path) << "# a comment\n[other]\naws_access_key_id=OTHER\n\n[" << profile
                        << "]\n aws_access_key_id = " << key
                        << "\r\naws_secret_access_key=sec=ret\nregion = nowhere\n";
    return path;
  }

  static std::string KeyOf(const CredentialsOptions& options) {
    const auto source = CredentialsSource::Open(options);
    return source.ok() ? (*source)->Get()->access_key : std::string(source.status().message());
  }

  const TempFolder folder_;
  std::map<std::string, std::string> environment_;
};

TEST_F(CredentialsTest, AreReadFromTheFirstPlaceThatHasAny) {
  CredentialsOptions options = Options();
  EXPECT_THAT(CredentialsSource::Open(options), StatusIs(absl::StatusCode::kNotFound));
  std::filesystem::create_directory(folder_.path() + "/.aws");
  Write(".aws/credentials", "HOMES");
  environment_["HOME"] = folder_.path();
  EXPECT_EQ(KeyOf(options), "HOMES");
  environment_["AWS_SHARED_CREDENTIALS_FILE"] = Write("shared", "SHARED");
  EXPECT_EQ(KeyOf(options), "SHARED");
  environment_["CREDENTIALS_DIRECTORY"] = folder_.path();
  EXPECT_EQ(KeyOf(options), "SHARED");
  Write("s3", "SYSTEMD");
  EXPECT_EQ(KeyOf(options), "SYSTEMD");
  environment_["AWS_ACCESS_KEY_ID"] = "VARIABLE";
  environment_["AWS_SECRET_ACCESS_KEY"] = "secret";
  EXPECT_EQ(KeyOf(options), "VARIABLE");
  options.file = Write("file", "FILE");
  EXPECT_EQ(KeyOf(options), "FILE");
}

TEST_F(CredentialsTest, AreInAFileThatCanBeToldBeforeItIsRead) {
  CredentialsOptions options = Options();
  EXPECT_EQ(CredentialsFile(options), "");
  environment_["HOME"] = folder_.path();
  EXPECT_EQ(CredentialsFile(options), "");  // Which is not there.
  std::filesystem::create_directory(folder_.path() + "/.aws");
  const std::string of_home = Write(".aws/credentials", "HOMES");
  EXPECT_EQ(CredentialsFile(options), of_home);
  environment_["AWS_SHARED_CREDENTIALS_FILE"] = "/shared";
  EXPECT_EQ(CredentialsFile(options), "/shared");
  environment_["CREDENTIALS_DIRECTORY"] = folder_.path();
  EXPECT_EQ(CredentialsFile(options), "/shared");
  const std::string of_systemd = Write("s3", "SYSTEMD");
  EXPECT_EQ(CredentialsFile(options), of_systemd);
  environment_["AWS_ACCESS_KEY_ID"] = "VARIABLE";
  EXPECT_EQ(CredentialsFile(options), "");
  options.file = "/file";
  EXPECT_EQ(CredentialsFile(options), "/file");
}

TEST_F(CredentialsTest, AreThoseOfTheProfile) {
  CredentialsOptions options = Options();
  options.file = Write("file", "BACKUP", "backup");
  options.profile = "backup";
  const auto source = CredentialsSource::Open(options);
  ASSERT_OK(source);
  EXPECT_EQ((*source)->Get()->access_key, "BACKUP");
  EXPECT_EQ((*source)->Get()->secret_key, "sec=ret");
  options.profile = "default";
  EXPECT_THAT(CredentialsSource::Open(options), StatusIs(absl::StatusCode::kInvalidArgument));
  environment_["AWS_PROFILE"] = "backup";
  EXPECT_EQ(KeyOf(options), "BACKUP");
}

TEST_F(CredentialsTest, AreNotToldWhenTheyAreWrong) {
  for (const std::string text :
       {"[default]\naws_access_key_id=SECRET\n", "aws_access_key_id=SECRET\n", "SECRET",
        "[default]\naws_access_key_id=\naws_secret_access_key=SECRET\n",
        "[default]\naws_access_key_id=SEC RET\naws_secret_access_key=SECRET\n"}) {
    const auto parsed = ParseCredentials(text, "default");
    EXPECT_THAT(parsed, StatusIs(absl::StatusCode::kInvalidArgument)) << text;
    EXPECT_FALSE(absl::StrContains(parsed.status().message(), "SEC"));
  }
  environment_["AWS_ACCESS_KEY_ID"] = "HIDDEN";
  const auto half = CredentialsSource::Open(Options());
  EXPECT_THAT(half, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_FALSE(absl::StrContains(half.status().message(), "HIDDEN"));
}

TEST_F(CredentialsTest, NameTheFileThatCannotBeRead) {
  CredentialsOptions options = Options();
  options.file = folder_.path() + "/none";
  const auto missing = CredentialsSource::Open(options);
  EXPECT_TRUE(absl::StrContains(missing.status().message(), options.file));
  std::ofstream(options.file) << std::string(100'000, '\n');
  EXPECT_THAT(CredentialsSource::Open(options), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(CredentialsTest, AreReadAgainWhenTheyWereExchanged) {
  CredentialsOptions options = Options();
  options.reload_interval = std::chrono::milliseconds::zero();
  options.file = Write("file", "OLD");
  const auto source = CredentialsSource::Open(options).value();
  const Credentials old = *source->Get();
  EXPECT_FALSE(source->Reload(old));
  Write("file", "NEW");
  EXPECT_TRUE(source->Reload(old));
  EXPECT_EQ(source->Get()->access_key, "NEW");
  // Somebody else had them refused as well.
  EXPECT_TRUE(source->Reload(old));
  std::filesystem::remove(options.file);
  EXPECT_FALSE(source->Reload(*source->Get()));
  EXPECT_EQ(source->Get()->access_key, "NEW");
}

TEST_F(CredentialsTest, AreNotReadAgainAllTheTime) {
  CredentialsOptions options = Options();
  options.reload_interval = std::chrono::hours(1);
  options.file = Write("file", "OLD");
  const auto source = CredentialsSource::Open(options).value();
  const Credentials old = *source->Get();
  EXPECT_FALSE(source->Reload(old));
  Write("file", "NEW");
  EXPECT_FALSE(source->Reload(old));
}

}  // namespace
}  // namespace backup::storage::s3

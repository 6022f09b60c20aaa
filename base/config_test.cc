#include "base/config.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/testing/status_matchers.h"
#include "gflags/gflags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

DEFINE_string(test_text, "default text", "a text");
DEFINE_int32(test_number, 1, "a number above 0");
DEFINE_bool(test_switch, true, "a switch");
DEFINE_string(test_key, "refuse", "no secret: keys come in files");
DEFINE_string(test_secret, "", "a secret, which no program of ours has as a flag");
DEFINE_validator(test_number,
                 [](const char*, int32_t value) { return value > 0 || backup::MustBe("above 0"); });

namespace backup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<Setting>> Load(std::vector<std::string> args,
                                            const std::vector<std::string>& environment = {}) {
    args.insert(args.begin(), "program");
    std::vector<char*> pointers;
    for (std::string& arg : args) pointers.push_back(arg.data());
    pointers.push_back(nullptr);
    int argc = static_cast<int>(args.size());
    char** argv = pointers.data();
    auto settings =
        LoadConfiguration({"program", __FILE__, {"BACKUP_OTHERS"}}, argc, argv, environment);
    rest_.assign(argv + 1, argv + argc);
    return settings;
  }

  std::string WriteFile(const std::string& text) {
    const std::string path = absl::StrCat(::testing::TempDir(), "config_test.flags");
    std::ofstream(path) << text;
    return path;
  }

  std::string SourceOf(const std::vector<Setting>& settings, const std::string& flag) {
    for (const Setting& setting : settings) {
      if (setting.flag == flag) return setting.source;
    }
    return "";
  }

  const gflags::FlagSaver saver_;
  std::vector<std::string> rest_;
};

TEST_F(ConfigTest, TheCommandLineWinsOverTheEnvironmentAndThatOverTheFile) {
  const std::string file =
      WriteFile("# a comment\n\n--test_text=from file\n--test_number=2\n--notest_switch\n");
  const auto settings = Load({"--flagfile", file, "--test_text", "from flag"},
                             {"BACKUP_TEST_TEXT=from env", "BACKUP_TEST_NUMBER=3", "HOME=/"});
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(FLAGS_test_text, "from flag");
  EXPECT_EQ(FLAGS_test_number, 3);
  EXPECT_FALSE(FLAGS_test_switch);
  EXPECT_EQ(SourceOf(*settings, "test_text"), "flag");
  EXPECT_EQ(SourceOf(*settings, "test_number"), "environment BACKUP_TEST_NUMBER");
  EXPECT_EQ(SourceOf(*settings, "test_switch"), absl::StrCat("file ", file, ":5"));
  EXPECT_EQ(SourceOf(*settings, "test_key"), "default");
}

TEST_F(ConfigTest, TheEnvironmentNamesAFileToo) {
  const std::string file = WriteFile("--test-number=7");
  ASSERT_TRUE(Load({"stray"}, {absl::StrCat("BACKUP_FLAGFILE=", file)}).ok());
  EXPECT_EQ(FLAGS_test_number, 7);
  EXPECT_THAT(rest_, ::testing::ElementsAre("stray"));
}

TEST_F(ConfigTest, AnUnknownVariableIsAnErrorUnlessItIsAnotherPrograms) {
  EXPECT_THAT(std::string(Load({}, {"BACKUP_TEST_NUMBR=3"}).status().message()),
              AllOf(HasSubstr("BACKUP_TEST_NUMBR"), HasSubstr("--test_numbr")));
  EXPECT_FALSE(Load({}, {"BACKUP_HELP=true"}).ok());
  EXPECT_FALSE(Load({}, {"BACKUP_TAB_COMPLETION_WORD=x"}).ok());
  EXPECT_FALSE(Load({}, {"BACKUP_TAB-COMPLETION_WORD=x"}).ok());
  EXPECT_TRUE(Load({}, {"BACKUP_OTHERS=x", "BACKUPS=x"}).ok());
}

TEST_F(ConfigTest, AWrongValueIsAnErrorThatNamesItsPlace) {
  EXPECT_THAT(std::string(Load({}, {"BACKUP_TEST_NUMBER=0"}).status().message()),
              AllOf(HasSubstr("BACKUP_TEST_NUMBER"), HasSubstr("\"0\"")));
  for (const char* text : {"--test_number=x", "test_number=1", "--no_such=1", "--test_text",
                           "--flagfile=/other", "--tab_completion_word=x", "stray"}) {
    const std::string file = WriteFile(absl::StrCat("\n", text, "\n"));
    EXPECT_THAT(std::string(Load({"--flagfile=" + file}).status().message()),
                HasSubstr(absl::StrCat(file, ":2")))
        << text;
  }
  EXPECT_THAT(std::string(Load({"--flagfile=/no/such/file"}).status().message()),
              HasSubstr("/no/such/file"));
  EXPECT_FALSE(Load({absl::StrCat("--flagfile=", ::testing::TempDir())}).ok());
}

TEST_F(ConfigTest, AWrongCommandLineIsAUsageErrorThatSaysWhatIsWanted) {
  for (const auto& [args, why] :
       std::initializer_list<std::pair<std::vector<std::string>, const char*>>{
           {{"--test_number=0"}, "\"0\" is no value for --test_number: it must be above 0"},
           {{"--test_number", "x"},
            "\"x\" is no value for --test_number: it must be a whole number"},
           {{"--test_switch=maybe"}, "it must be true or false"},
           {{"--test_number"}, "--test_number needs a value"},
           {{"--no_such"}, "there is no flag --no_such"}}) {
    const absl::Status refused = Load(args).status();
    EXPECT_THAT(std::string(refused.message()), AllOf(HasSubstr("command line: "), HasSubstr(why)));
    EXPECT_EQ(ExitCodeOf(refused), kExitUsage);
  }
}

TEST_F(ConfigTest, ShowsNoSecrets) {
  const auto settings = Load({"--test_secret=abc123", "--test_text=plain", "--test_key=adopt"});
  ASSERT_TRUE(settings.ok());
  const std::string text = ConfigurationText(*settings);
  EXPECT_THAT(text, HasSubstr("--test_key=adopt  (flag)\n"));
  EXPECT_THAT(text, HasSubstr("--test_text=plain  (flag)\n"));
  EXPECT_THAT(text, HasSubstr("--test_secret=(not shown)  (flag)\n"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("abc123")));
}

}  // namespace
}  // namespace backup

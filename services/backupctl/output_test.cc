#include "services/backupctl/output.h"

#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "backup/v1/types.pb.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "services/backupctl/exit_code.h"

namespace backup::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(HumanSize, NamesTheUnitThatFits) {
  EXPECT_EQ(HumanSize(0), "0 B");
  EXPECT_EQ(HumanSize(1023), "1023 B");
  EXPECT_EQ(HumanSize(1024), "1.0 KiB");
  EXPECT_EQ(HumanSize(1536), "1.5 KiB");
  EXPECT_EQ(HumanSize((int64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(HumanSize(int64_t{1} << 40), "1.0 TiB");
  EXPECT_EQ(HumanSize(INT64_MAX), "8.0 EiB");
}

TEST(RatioText, TellsHowManyTimesAsMuchIsStoredAsIsKept) {
  EXPECT_EQ(RatioText(0, 0), "-");
  EXPECT_EQ(RatioText(100, 0), "-");
  EXPECT_EQ(RatioText(100, 100), "1.0");
  EXPECT_EQ(RatioText(340, 100), "3.4");
  EXPECT_EQ(RatioText(50, 100), "0.5");
}

TEST(TimeText, IsRfc3339InUtc) {
  google::protobuf::Timestamp time;
  time.set_seconds(1700000000);
  time.set_nanos(999999999);
  EXPECT_EQ(TimeText(time), "2023-11-14T22:13:20Z");
  v1::Client client;
  const auto last = [&] {
    return TimeOrNever(client, &v1::Client::has_last_verified_time,
                       &v1::Client::last_verified_time);
  };
  EXPECT_EQ(last(), "never");
  *client.mutable_last_verified_time() = time;
  EXPECT_EQ(last(), "2023-11-14T22:13:20Z");
}

TEST(Table, AlignsColumnsByCharactersAndEndsLinesWithoutSpaces) {
  Table table({{"NAME"}, {"SIZE", Table::Align::kRight}, {"NOTE"}});
  table.AddRow({"caf\xc3\xa9", "5 B", "x"});
  table.AddRow({"longer", "100 B", ""});
  EXPECT_EQ(table.Render(),
            "NAME     SIZE  NOTE\n"
            "caf\xc3\xa9      5 B  x\n"
            "longer  100 B\n");
}

TEST(Table, NeverPrintsControlCharacters) {
  Table table({{"NAME"}});
  table.AddRow({"\x1b[2J\nroot\x7f"});
  EXPECT_EQ(table.Render(), "NAME\n%1B[2J%0Aroot%7F\n");
}

TEST(RenderFields, PutsValuesUnderEachOther) {
  EXPECT_EQ(RenderFields({{"Name", "a"}, {"Client id", "b"}}), "Name:       a\nClient id:  b\n");
}

TEST(Output, WritesOneJsonObjectALine) {
  std::ostringstream out;
  std::ostringstream err;
  Output::Options options;
  options.json = true;
  Output output(out, err, options);
  v1::FileVersion version;
  version.set_file_name("two\nlines");
  version.set_state(v1::FileVersion::VERIFIED);
  output.Json(version);
  output.Json(nlohmann::json{{"path", "not UTF-8: \xff"}});
  std::istringstream lines(out.str());
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const nlohmann::json first = nlohmann::json::parse(line);
  EXPECT_EQ(first["file_name"], "two\nlines");
  EXPECT_EQ(first["state"], "VERIFIED");
  EXPECT_EQ(first["size_bytes"], 0);
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_TRUE(nlohmann::json::parse(line).contains("path"));
  EXPECT_FALSE(std::getline(lines, line));
  EXPECT_EQ(err.str(), "");
}

TEST(Output, IsQuietAboutNotesButNotAboutProblems) {
  std::ostringstream out;
  std::ostringstream err;
  Output::Options options;
  options.quiet = true;
  Output output(out, err, options);
  output.Note("done");
  output.Problem("broken\n");
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "backupctl: broken%0A\n");
}

TEST(RenderProgress, ShowsBarSizeAndRate) {
  const Progress half{"file.bin", 512, 1024, absl::Seconds(1)};
  EXPECT_EQ(RenderProgress(half, /*color=*/false),
            "file.bin                 [###############---------------]  50% 512 B  512 B/s");
  EXPECT_THAT(RenderProgress(half, /*color=*/true), HasSubstr("\033[32m"));
  const Progress beyond{"x", 2048, 1024, absl::ZeroDuration()};
  EXPECT_THAT(RenderProgress(beyond, false), HasSubstr("100%"));
  const Progress unknown{"x", 2048, 0, absl::ZeroDuration()};
  EXPECT_THAT(RenderProgress(unknown, false), Not(HasSubstr("%")));
}

TEST(ExitCode, TellsScriptsWhatKindOfErrorItWas) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), ExitCode::kOk);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), ExitCode::kFailed);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(MakeError(Reason::kClientNotFound, "")), ExitCode::kNoSuchObject);
  EXPECT_EQ(ExitCodeOf(WithExitCode(absl::AbortedError(""), kExitInUse)), ExitCode::kLocked);
  EXPECT_EQ(ExitCodeOf(absl::FailedPreconditionError("the key is readable for others")),
            ExitCode::kNoSuchObject);
  EXPECT_EQ(ExitCodeOf(MakeError(Reason::kKeyNotSet, "")), ExitCode::kFailed);
  EXPECT_EQ(ExitCodeOf(MakeError(Reason::kBlobDamaged, "")), ExitCode::kDamaged);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("")), ExitCode::kInterrupted);
}

TEST(ErrorLine, IsOneLineThatSaysWhatToDo) {
  EXPECT_EQ(ErrorLine(MakeError(Reason::kClientNotFound, "no such client", "lap\ntop")),
            "no such client (lap%0Atop); `backupctl client list` shows those there are");
  EXPECT_EQ(ErrorLine(absl::UnknownError("")), "UNKNOWN");
}

}  // namespace
}  // namespace backup::ctl

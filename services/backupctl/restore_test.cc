#include "services/backupctl/restore.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <string>

#include "base/name_text.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backupctl/testing/fake_service.h"
#include "services/backupctl/testing/temp_folder.h"

namespace backup::ctl {
namespace {

using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::StatusIs;
using ::testing::AllOf;
using testing::FakeService;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kClientId;
using testing::TempFolder;
using ::testing::UnorderedElementsAre;

Output::Options JsonOptions() {
  Output::Options options;
  options.json = true;
  return options;
}

class RestoreTest : public ::testing::Test {
 protected:
  absl::StatusOr<RestoreSummary> RestoreTo(const std::string& name,
                                           const RestoreOptions& options = {.parallel = 4}) {
    absl::StatusOr<RestoreFolder> folder = options.dry_run
                                               ? RestoreFolder::OpenToLook(folder_.Path(name))
                                               : RestoreFolder::Open(folder_.Path(name));
    if (!folder.ok()) return folder.status();
    Output output(out_, err_, JsonOptions());
    ChosenVersions versions(service_.connection(), kClientId, {});
    return Restore(service_.connection(), versions, *folder, options, output);
  }

  TempFolder folder_;
  FakeService service_;
  std::ostringstream out_;
  std::ostringstream err_;
};

constexpr RestoreOptions kForce = {.force = true, .parallel = 2};

TEST_F(RestoreTest, RestoresEveryVerifiedFileOfEveryPage) {
  const std::string large = PseudoRandomBytes(100'000);
  service_.catalog.Add("a.txt", "one");
  service_.catalog.Add("docs/b.txt", "two");
  service_.catalog.Add("empty", "");
  service_.catalog.Add("large", large);
  service_.catalog.Add("z", "five").version.mutable_receive_time()->set_seconds(1'000'000'000);
  service_.catalog.AddUnverified("not yet");
  const auto summary = RestoreTo("new/to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 5);
  EXPECT_EQ(summary->bytes, 100'010);
  EXPECT_EQ(summary->failed, 0);
  EXPECT_EQ(summary->renamed, 0);
  EXPECT_EQ(summary->unverified, 1);
  EXPECT_EQ(service_.catalog.list_calls(), 3);
  EXPECT_THAT(folder_.List("new/to"),
              UnorderedElementsAre("a.txt", "docs", "docs/b.txt", "empty", "large", "z"));
  EXPECT_EQ(folder_.Read("new/to/docs/b.txt"), "two");
  EXPECT_EQ(folder_.Read("new/to/large"), large);
  struct stat info = {};
  ASSERT_EQ(::stat(folder_.Path("new/to/z").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'000'000'000);
}

TEST_F(RestoreTest, TellsOfFilesInTheOrderOfTheirNamesHoweverManyGoOnAtOnce) {
  for (int i = 100; i < 200; ++i)
    service_.catalog.Add(std::to_string(i), std::string(i % 7 == 0 ? 300'000 : 10, 'x'));
  ASSERT_OK(RestoreTo("to", {.parallel = kMaxParallelFiles}));
  std::istringstream lines(out_.str());
  std::string line;
  for (int i = 100; i < 200; ++i) {
    std::getline(lines, line);
    EXPECT_THAT(line, HasSubstr("\"file_name\":\"" + std::to_string(i) + "\""));
  }
}

TEST_F(RestoreTest, ReportsAFileThatFailsAndGoesOn) {
  service_.catalog.Add("bad", "content").sent = "Content";
  service_.catalog.Add("good", "content");
  service_.catalog.Add("no%name", "content");  // No text that the API allows.
  const auto summary = RestoreTo("to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 1);
  EXPECT_EQ(summary->failed, 2);
  EXPECT_THAT(folder_.List("to"), UnorderedElementsAre("good"));
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("cannot restore bad: BLOB_DAMAGED: "),
                                HasSubstr("cannot restore no%name: ")));
  EXPECT_THAT(out_.str(), HasSubstr("\"reason\":\"BLOB_DAMAGED\""));
}

TEST_F(RestoreTest, OffersAnOlderVersionOfADamagedOneAndTakesItOnlyIfTold) {
  service_.catalog.AddOld("bad", "oldest");
  service_.catalog.AddOld("bad", "lost").sent = "Lost";
  service_.catalog.AddOld("bad", "known").version.set_state(v1::FileVersion::DAMAGED);
  service_.catalog.Add("bad", "content").sent = "Content";
  service_.catalog.Add("fine", "fine");
  service_.catalog.Add("only", "one").sent = "One";
  auto summary = RestoreTo("to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->failed, 2);
  EXPECT_EQ(summary->older, 0);
  EXPECT_THAT(err_.str(), HasSubstr("--fallback restores the newest version that is not damaged"));
  EXPECT_THAT(folder_.List("to"), UnorderedElementsAre("fine"));
  summary = RestoreTo("to", {.fallback = true});
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 1);
  EXPECT_EQ(summary->kept, 1);
  EXPECT_EQ(summary->failed, 1);
  EXPECT_EQ(summary->older, 1);
  EXPECT_EQ(folder_.Read("to/bad"), "oldest");
  EXPECT_THAT(err_.str(), HasSubstr("older: version 4 of bad is damaged; version 1 of "));
  EXPECT_THAT(out_.str(), HasSubstr("\"damaged_version_id\":4"));
}

TEST_F(RestoreTest, PutsHostileNamesInsideTheFolderOnlyAndSaysWhichAreNotKept) {
  const std::vector<std::string> names = {
      "../escaped",  "..\\escaped", "/tmp/escaped", "a/../../escaped",
      "C:\\escaped", "-rf",         "new\nline",    "..",
      "caf\xe9",     "100%",        "con.txt",      "end. "};
  for (const std::string& name : names) service_.catalog.Add(NameToText(name), name);
  const auto summary = RestoreTo("outer/to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, static_cast<int64_t>(names.size()));
  EXPECT_EQ(summary->renamed, 3);
  EXPECT_THAT(folder_.List("outer/to"),
              UnorderedElementsAre("..%2Fescaped", "..\\escaped", "tmp", "tmp/escaped",
                                   "a%2F..%2F..%2Fescaped", "C:\\escaped", "-rf", "new\nline",
                                   "%2E%2E", "caf\xe9", "100%", "con.txt", "end. "));
  EXPECT_EQ(folder_.Read("outer/to/tmp/escaped"), "/tmp/escaped");
  EXPECT_THAT(err_.str(), HasSubstr("another name: ../escaped is found as ..%2Fescaped"));
  for (const std::string& entry : folder_.List())
    EXPECT_THAT(entry, ::testing::StartsWith("outer"));
}

TEST_F(RestoreTest, FindsAPlaceForAFileThatIsCalledLikeAFolder) {
  service_.catalog.Add("/c/d", "below");
  service_.catalog.Add("a", "file");
  service_.catalog.Add("a/b", "below");
  service_.catalog.Add("c", "file");
  const auto summary = RestoreTo("to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->renamed, 2);
  EXPECT_EQ(folder_.Read("to/a"), "file");
  EXPECT_EQ(folder_.Read("to/a%2Fb"), "below");
  EXPECT_EQ(folder_.Read("to/c/d"), "below");
  EXPECT_EQ(folder_.Read("to/c~2"), "file");
}

TEST_F(RestoreTest, NeverPutsOneFileInAnothersPlace) {
  service_.catalog.Add("same", "first");
  service_.catalog.Add("same", "second");
  ASSERT_OK(RestoreTo("to", kForce));
  EXPECT_EQ(folder_.Read("to/same"), "first");
  EXPECT_EQ(folder_.Read("to/same~2"), "second");
}

TEST_F(RestoreTest, KeepsWhatIsThereAndReplacesOtherContentOnlyIfForced) {
  std::filesystem::create_directory(folder_.Path("to"));
  folder_.Write("to/a", "old");
  folder_.Write("to/b", "b's");
  folder_.Write("to/c", "C's");
  folder_.Write("to/other", "old");
  service_.catalog.Add("a", "new, longer");
  service_.catalog.Add("b", "b's");
  service_.catalog.Add("c", "c's");
  service_.catalog.Add("d", "d's");
  auto summary = RestoreTo("to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 1);
  EXPECT_EQ(summary->kept, 1);
  EXPECT_EQ(summary->failed, 2);
  EXPECT_EQ(folder_.Read("to/a"), "old");
  EXPECT_THAT(err_.str(), HasSubstr("--force"));
  summary = RestoreTo("to", kForce);
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 2);
  EXPECT_EQ(summary->kept, 2);
  EXPECT_EQ(folder_.Read("to/a"), "new, longer");
  EXPECT_EQ(folder_.Read("to/c"), "c's");
  EXPECT_EQ(folder_.Read("to/other"), "old");
}

TEST_F(RestoreTest, ReplacesWhatItMayNotReadOnlyIfForced) {
  constexpr uid_t kNobody = 65534;
  std::filesystem::create_directory(folder_.Path("to"));
  folder_.Write("to/a", "locked!");
  service_.catalog.Add("a", "content");
  ASSERT_EQ(::chmod(folder_.Path("to/a").c_str(), 0), 0);
  ASSERT_EQ(::chmod(folder_.Path("").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(folder_.Path("to").c_str(), 0777), 0);
  const bool is_root = ::geteuid() == 0;  // Whom nothing is closed to.
  if (is_root) {
    ASSERT_EQ(::seteuid(kNobody), 0);
  }
  const auto kept = RestoreTo("to");
  const std::string said = err_.str();
  const auto replaced = RestoreTo("to", kForce);
  if (is_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ASSERT_OK(kept);
  EXPECT_EQ(kept->failed, 1);
  EXPECT_THAT(said, AllOf(HasSubstr("may not be read"), HasSubstr("--force")));
  ASSERT_OK(replaced);
  EXPECT_EQ(replaced->files, 1);
  EXPECT_EQ(folder_.Read("to/a"), "content");
}

TEST_F(RestoreTest, FollowsNoLinkThatLiesInTheFolder) {
  std::filesystem::create_directories(folder_.Path("to"));
  std::filesystem::create_directory(folder_.Path("outside"));
  folder_.Write("outside/file", "restored");
  std::filesystem::create_symlink(folder_.Path("outside"), folder_.Path("to/folder"));
  std::filesystem::create_symlink(folder_.Path("outside/file"), folder_.Path("to/link"));
  service_.catalog.Add("folder/file", "restored");
  service_.catalog.Add("link", "restored");
  auto summary = RestoreTo("to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->failed, 1);  // A link to the same content is not that file.
  summary = RestoreTo("to", kForce);
  ASSERT_OK(summary);
  EXPECT_EQ(summary->renamed, 1);
  EXPECT_THAT(folder_.List("outside"), UnorderedElementsAre("file"));
  EXPECT_EQ(folder_.Read("to/folder%2Ffile"), "restored");
  EXPECT_FALSE(std::filesystem::is_symlink(folder_.Path("to/link")));
  EXPECT_EQ(folder_.Read("to/link"), "restored");
}

TEST_F(RestoreTest, NeverReplacesWhatWasMadeSinceItBegan) {
  const auto folder = RestoreFolder::Open(folder_.Path("to"));
  ASSERT_OK(folder);
  struct stat opened = {};
  ASSERT_EQ(::stat(folder_.Path("to").c_str(), &opened), 0);
  struct stat info = {};
  do {  // The clock of files is coarse.
    folder_.Write("to/file", "of somebody else");
    ASSERT_EQ(::stat(folder_.Path("to/file").c_str(), &info), 0);
  } while (info.st_ctim.tv_sec == opened.st_ctim.tv_sec &&
           info.st_ctim.tv_nsec == opened.st_ctim.tv_nsec);
  const auto file = folder->NewFile(0);
  ASSERT_OK(file);
  EXPECT_THAT(folder->Place(**file, "file", /*replace=*/true, absl::Now()),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(folder_.Read("to/file"), "of somebody else");
}

TEST_F(RestoreTest, ADryRunChangesNothingAndSaysWhatWouldBeDone) {
  service_.catalog.Add("a", "content");
  service_.catalog.Add("a/b", "content");
  const RestoreOptions look = {.dry_run = true, .parallel = 2};
  auto summary = RestoreTo("new/to", look);
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 2);
  EXPECT_EQ(summary->renamed, 1);
  EXPECT_THAT(folder_.List(), IsEmpty());
  EXPECT_THAT(out_.str(), HasSubstr("would_restore"));
  std::filesystem::create_directory(folder_.Path("to"));
  folder_.Write("to/a", "content");
  folder_.Write("to/a%2Fb", "changed");
  folder_.Write("to/.backupctl-0123456789abcdef.part", "left over");
  summary = RestoreTo("to", look);
  ASSERT_OK(summary);
  EXPECT_EQ(summary->kept, 1);
  EXPECT_EQ(summary->failed, 1);
  EXPECT_EQ(folder_.List("to").size(), 3u);
}

TEST_F(RestoreTest, RemovesThePartsOfARestoreThatWasKilled) {
  std::filesystem::create_directory(folder_.Path("to"));
  folder_.Write("to/.backupctl-0123456789abcdef.part", "left over");
  service_.catalog.Add("a", "content");
  const auto summary = RestoreTo("to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->removed_parts, 1);
  EXPECT_THAT(folder_.List("to"), UnorderedElementsAre("a"));
}

TEST_F(RestoreTest, AnArchiveHasOnlyFilesThatAreRight) {
  const std::string large = PseudoRandomBytes(5'000'000);
  service_.catalog.Add("bad", large).sent = std::string(large.size(), 'x');
  service_.catalog.Add("good", large);
  service_.catalog.Add("small", "content");
  Output output(out_, err_, JsonOptions());
  ChosenVersions versions(service_.connection(), kClientId, {});
  StringSink tar;
  const auto summary = RestoreToTar(service_.connection(), versions, tar, {}, output);
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 2);
  EXPECT_EQ(summary->failed, 1);
  EXPECT_EQ(tar.bytes().find("xxxxxxxx"), std::string::npos);
  EXPECT_NE(tar.bytes().find(large), std::string::npos);
}

TEST_F(RestoreTest, RidesThroughARestartOfTheService) {
  service_.catalog.Add("a", PseudoRandomBytes(5000));
  service_.catalog.FailDownloads(1);
  const auto summary = RestoreTo("to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 1);
  EXPECT_EQ(folder_.Read("to/a"), PseudoRandomBytes(5000));
}

TEST_F(RestoreTest, EndsWithoutPartsWhenTheServiceStaysAway) {
  service_.catalog.Add("a", "content");
  service_.catalog.Add("b", "content");
  service_.catalog.FailDownloads(100);
  EXPECT_THAT(RestoreTo("to"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(folder_.List("to"), IsEmpty());
}

TEST_F(RestoreTest, EndsWithTheErrorThatStoppedItsPlanning) {
  service_.catalog.Add("a", "content");
  const auto folder = RestoreFolder::Open(folder_.Path("to"));
  ASSERT_OK(folder);
  Output output(out_, err_, JsonOptions());
  ChosenVersions versions(service_.connection(), kClientId, {});
  ASSERT_OK(service_.connection().FindClient("laptop"));  // What a first call opens is open.
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit no_more = {.rlim_cur = 1, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &no_more), 0);
  const auto summary = Restore(service_.connection(), versions, *folder, {.parallel = 2}, output);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_THAT(summary, StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(RestoreTest, EndsWhenInterrupted) {
  service_.catalog.Add("a", "content");
  service_.interrupt.Request();
  EXPECT_THAT(RestoreTo("to"), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(folder_.List("to"), IsEmpty());
}

}  // namespace
}  // namespace backup::ctl

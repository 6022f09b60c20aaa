#include "services/backupctl/restore.h"

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

class RestoreTest : public ::testing::Test {
 protected:
  absl::StatusOr<RestoreSummary> RestoreTo(const std::string& name, bool force = false) {
    absl::StatusOr<RestoreFolder> folder = RestoreFolder::Open(folder_.Path(name), force);
    if (!folder.ok()) return folder.status();
    Output output(out_, err_, Output::Options());
    return Restore(service_.connection(), kClientId, *folder, output);
  }

  TempFolder folder_;
  FakeService service_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(RestoreTest, RestoresEveryVerifiedFileOfEveryPage) {
  const std::string large = PseudoRandomBytes(100'000);
  service_.catalog.Add("a.txt", "one");
  service_.catalog.Add("docs/b.txt", "two");
  service_.catalog.Add("empty", "");
  service_.catalog.Add("large", large);
  service_.catalog.Add("z", "five");
  service_.catalog.AddUnverified("not yet");
  const auto summary = RestoreTo("new/to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 5);
  EXPECT_EQ(summary->bytes, 100'010);
  EXPECT_EQ(summary->failed, 0);
  EXPECT_EQ(summary->unverified, 1);
  EXPECT_EQ(service_.catalog.list_calls(), 3);
  EXPECT_THAT(folder_.List("new/to"),
              UnorderedElementsAre("a.txt", "docs", "docs/b.txt", "empty", "large", "z"));
  EXPECT_EQ(folder_.Read("new/to/docs/b.txt"), "two");
  EXPECT_EQ(folder_.Read("new/to/large"), large);
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
  EXPECT_THAT(err_.str(),
              AllOf(HasSubstr("cannot restore bad: "), HasSubstr("cannot restore no%name: ")));
}

TEST_F(RestoreTest, PutsHostileNamesInsideTheFolderOnly) {
  const std::vector<std::string> names = {"../escaped",      "..\\escaped", "/tmp/escaped",
                                          "a/../../escaped", "C:\\escaped", "-rf",
                                          "new\nline",       ".."};
  for (const std::string& name : names) service_.catalog.Add(NameToText(name), name);
  const auto summary = RestoreTo("outer/to");
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, static_cast<int64_t>(names.size()));
  EXPECT_THAT(folder_.List("outer/to"),
              UnorderedElementsAre("..%2Fescaped", "..%5Cescaped", "tmp", "tmp/escaped",
                                   "a%2F..%2F..%2Fescaped", "C%3A%5Cescaped", "%2Drf", "new%0Aline",
                                   "%2E%2E"));
  EXPECT_EQ(folder_.Read("outer/to/tmp/escaped"), "/tmp/escaped");
  for (const std::string& entry : folder_.List())
    EXPECT_THAT(entry, ::testing::StartsWith("outer"));
}

TEST_F(RestoreTest, FindsAPlaceForAFileThatIsCalledLikeAFolder) {
  service_.catalog.Add("a", "file");
  service_.catalog.Add("a/b", "below");
  service_.catalog.Add("c/d", "below");
  service_.catalog.Add("c", "file");
  ASSERT_OK(RestoreTo("to"));
  EXPECT_EQ(folder_.Read("to/a"), "file");
  EXPECT_EQ(folder_.Read("to/a%2Fb"), "below");
  EXPECT_EQ(folder_.Read("to/c/d"), "below");
  EXPECT_EQ(folder_.Read("to/c~2"), "file");
}

TEST_F(RestoreTest, KeepsANameAndItsAbsoluteFormApart) {
  service_.catalog.Add("/a/b", "absolute");
  service_.catalog.Add("a/b", "relative");
  ASSERT_OK(RestoreTo("to"));
  EXPECT_EQ(folder_.Read("to/a/b"), "absolute");
  EXPECT_EQ(folder_.Read("to/a%2Fb"), "relative");
}

TEST_F(RestoreTest, NeverPutsOneFileInAnothersPlace) {
  service_.catalog.Add("same", "first");
  service_.catalog.Add("same", "second");
  ASSERT_OK(RestoreTo("to", /*force=*/true));
  EXPECT_EQ(folder_.Read("to/same"), "first");
  EXPECT_EQ(folder_.Read("to/same~2"), "second");
}

TEST_F(RestoreTest, RefusesAFolderWithFilesInItUnlessForced) {
  std::filesystem::create_directory(folder_.Path("to"));
  folder_.Write("to/a", "old");
  folder_.Write("to/other", "old");
  service_.catalog.Add("a", "new");
  EXPECT_THAT(RestoreTo("to"), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(folder_.Read("to/a"), "old");
  ASSERT_OK(RestoreTo("to", /*force=*/true));
  EXPECT_EQ(folder_.Read("to/a"), "new");
  EXPECT_EQ(folder_.Read("to/other"), "old");
}

TEST_F(RestoreTest, FollowsNoLinkThatLiesInTheFolder) {
  std::filesystem::create_directories(folder_.Path("to"));
  std::filesystem::create_directory(folder_.Path("outside"));
  folder_.Write("outside/file", "untouched");
  std::filesystem::create_symlink(folder_.Path("outside"), folder_.Path("to/folder"));
  std::filesystem::create_symlink(folder_.Path("outside/file"), folder_.Path("to/link"));
  service_.catalog.Add("folder/file", "restored");
  service_.catalog.Add("link", "restored");
  ASSERT_OK(RestoreTo("to", /*force=*/true));
  EXPECT_EQ(folder_.Read("outside/file"), "untouched");
  EXPECT_THAT(folder_.List("outside"), UnorderedElementsAre("file"));
  EXPECT_EQ(folder_.Read("to/folder%2Ffile"), "restored");
  EXPECT_FALSE(std::filesystem::is_symlink(folder_.Path("to/link")));
  EXPECT_EQ(folder_.Read("to/link"), "restored");
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

TEST_F(RestoreTest, EndsWhenInterrupted) {
  service_.catalog.Add("a", "content");
  service_.interrupt.Request();
  EXPECT_THAT(RestoreTo("to"), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(folder_.List("to"), IsEmpty());
}

}  // namespace
}  // namespace backup::ctl

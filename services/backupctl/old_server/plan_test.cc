#include "services/backupctl/old_server/plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backupctl/testing/status_says.h"
#include "services/backupctl/testing/temp_folder.h"

namespace backup::ctl::old_server {
namespace {

using ::backup::ctl::testing::Says;
using ::backup::testing::IsOkAndHolds;
using ::backup::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using testing::TempFolder;

const ClientId kOne = *ClientId::FromBytes(std::string(16, '1'));
const ClientId kTwo = *ClientId::FromBytes(std::string(16, '2'));

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() { std::filesystem::create_directory(base_.Path("uploaded_files")); }

  void Write(const std::string& path) {
    std::filesystem::create_directories(
        std::filesystem::path(base_.Path("uploaded_files/" + path)).parent_path());
    base_.Write("uploaded_files/" + path, "content");
  }
  Folder Open() { return Folder::Open(base_.Path(""), base_.Path("database.db")).value(); }
  std::vector<std::string> Listed() {
    std::vector<std::string> paths;
    const std::vector<Folder::Entry> entries = Open().List().value();
    for (const Folder::Entry& entry : entries)
      paths.push_back(entry.why.empty() ? entry.path : absl::StrCat(entry.path, ": ", entry.why));
    return paths;
  }
  std::vector<PlannedFile> Plan(const Rows& rows, const std::vector<OwnerRule>& rules = {}) {
    return PlanFiles(rows, Open(), rules).value();
  }

  TempFolder base_;
};

TEST_F(PlanTest, FindsAFileWhereverTheOldServerWroteIt) {
  Write("name");
  Write("sub/name");
  Write("C:\\dir\\windows");
  const Folder folder = Open();
  for (const char* written :
       {"uploaded_files/name", "./uploaded_files/name", "name", "/srv/old/uploaded_files/name",
        "uploaded_files\\name", "C:\\old\\uploaded_files\\name", "elsewhere/name", "../../name",
        "uploaded_files//name"}) {
    EXPECT_THAT(folder.Find(written), IsOkAndHolds("name")) << written;
  }
  EXPECT_THAT(folder.Find("uploaded_files/sub/name"), IsOkAndHolds("sub/name"));
  EXPECT_THAT(folder.Find("uploaded_files/C:\\dir\\windows"), IsOkAndHolds("C:\\dir\\windows"));
  // Not another file of that name: its own folder is here.
  EXPECT_THAT(folder.Find("uploaded_files/sub/gone"), StatusIs(absl::StatusCode::kNotFound));
  for (const char* written : {"", "/", "..", "uploaded_files", "gone"})
    EXPECT_THAT(folder.Find(written), StatusIs(absl::StatusCode::kNotFound)) << written;
}

TEST_F(PlanTest, FollowsNoLinkAndTakesNoDevice) {
  base_.Write("secret", "outside");
  Write("real");
  const std::string uploads = base_.Path("uploaded_files");
  std::filesystem::create_symlink(base_.Path("secret"), uploads + "/link");
  std::filesystem::create_symlink("/etc", uploads + "/folder");
  ASSERT_EQ(::mkfifo((uploads + "/pipe").c_str(), 0600), 0);
  const Folder folder = Open();
  EXPECT_THAT(folder.Find("uploaded_files/link"),
              Says(absl::StatusCode::kFailedPrecondition, HasSubstr("symbolic link")));
  EXPECT_FALSE(folder.Find("uploaded_files/folder/hostname").ok());
  EXPECT_FALSE(folder.Find("uploaded_files/../secret").ok());
  EXPECT_FALSE(folder.Find("pipe").ok());
  EXPECT_FALSE(folder.OpenFile("link").ok());
  EXPECT_THAT(Listed(), ElementsAre(HasSubstr("folder: is a symbolic link"),
                                    HasSubstr("link: is a symbolic link"),
                                    HasSubstr("pipe: is no regular file"), "real"));
}

TEST_F(PlanTest, TheDatabaseIsNoFileOfAClient) {
  std::filesystem::remove(base_.Path("uploaded_files"));
  for (const char* name : {"database.db", "database.db-wal", "database.db2", "notes"})
    base_.Write(name, "content");
  EXPECT_THAT(Listed(), ElementsAre("database.db2", "notes"));
}

TEST_F(PlanTest, OwnersAreTakenFromRowsThenFromRulesAndNeverGuessed) {
  for (const char* name : {"a", "b", "c.txt", "d"}) Write(name);
  Rows rows;
  rows.files = {{kOne, "a", "uploaded_files/a", false},
                {kOne, "gone", "uploaded_files/gone", false},
                {kOne, "b", "uploaded_files/b", false},
                {kTwo, "b", "uploaded_files/b", false}};
  rows.left_out = {{LeftOut::Kind::kFile, "row 5", "uploaded_files/d", "has no client's id"}};
  std::vector<PlannedFile> files = Plan(rows, {{kTwo, "*.txt"}});
  ASSERT_THAT(files, SizeIs(5));
  EXPECT_EQ(files[0].owner, kOne);
  EXPECT_EQ(files[1].owner, std::nullopt);
  EXPECT_THAT(files[1].claimants, ElementsAre(kOne, kTwo));
  EXPECT_THAT(files[1].why, HasSubstr("several clients"));
  EXPECT_EQ(files[2].owner, kTwo);
  EXPECT_THAT(files[3].why, HasSubstr("no client's id"));
  EXPECT_THAT(files[4].why, HasSubstr("not in the folder"));
  files = Plan(rows, {{kOne, ""}});
  EXPECT_EQ(files[1].owner, kOne);
  EXPECT_EQ(files[2].owner, kOne);
  EXPECT_EQ(files[3].why, "");
}

TEST_F(PlanTest, ARowThatIsThereTwiceIsOne) {
  Write("a");
  Rows rows;
  rows.files = {{kOne, "a", "uploaded_files/a", false}, {kOne, "a", "a", true}};
  rows.tells_verified = true;
  const std::vector<PlannedFile> files = Plan(rows);
  ASSERT_THAT(files, SizeIs(1));
  EXPECT_EQ(files[0].note, "");
}

}  // namespace
}  // namespace backup::ctl::old_server

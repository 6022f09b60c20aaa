#include "storage/sqlite/sqlite_catalog.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "storage/testing/catalog_contract.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

using testing::StatusIs;

std::unique_ptr<Catalog> MakeCatalog() {
  // The folders live as long as the process, because the contract owns nothing but the catalog.
  static std::vector<std::unique_ptr<TempFolder>> folders;
  folders.push_back(std::make_unique<TempFolder>());
  return SqliteCatalog::Open(folders.back()->path() + "/catalog.db").value();
}

INSTANTIATE_TEST_SUITE_P(Sqlite, CatalogContract, ::testing::Values(MakeCatalog));

class SqliteCatalogTest : public ::testing::Test {
 protected:
  static absl::Time At(int seconds) { return absl::FromUnixSeconds(1'700'000'000 + seconds); }

  absl::StatusOr<std::unique_ptr<SqliteCatalog>> Open() { return SqliteCatalog::Open(path_); }

  static Version SomeVersion(int64_t version_id) {
    Version version;
    version.client_id = IdOf<ClientId>(1);
    version.file_name = "file";
    version.version_id = version_id;
    version.size_bytes = 5;
    version.sha256 = std::string(32, 's');
    version.receive_time = At(1);
    return version;
  }

  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/catalog.db";
};

TEST_F(SqliteCatalogTest, FindsEverythingAgainAfterReopening) {
  {
    const auto catalog = Open().value();
    ASSERT_OK(catalog->RegisterClient("name", IdOf<ClientId>(1), DuplicateNames::kReject, At(0)));
    ASSERT_OK(catalog->SetClientKey(IdOf<ClientId>(1), {"key", "sealed", 256}, Rekey::kPin, At(0)));
    ASSERT_OK(catalog->AddVersion(SomeVersion(1), std::string("bytes"), {}));
    ASSERT_OK(catalog->SettleVersion(IdOf<ClientId>(1), "file", Outcome::kVerified, Learning::kOff,
                                     At(2)));
    ASSERT_OK(catalog->TouchClient(IdOf<ClientId>(1), At(9)));
  }
  EXPECT_FALSE(std::filesystem::exists(path_ + "-wal")) << "the log was not emptied at the end";
  const auto catalog = Open().value();
  const Client client = catalog->FindClientByName("name").value();
  EXPECT_EQ(client.sealed_session_key, "sealed");
  EXPECT_EQ(client.last_seen_time, At(9));
  EXPECT_EQ(catalog->FindVersion(client.id, "file", 0, true).value().content,
            Content(std::string("bytes")));
  EXPECT_EQ(catalog->Count().value().verified_versions, 1);
}

TEST_F(SqliteCatalogTest, ShowsAnotherProcessWhatItAcknowledged) {
  const auto catalog = Open().value();
  ASSERT_OK(catalog->RegisterClient("name", IdOf<ClientId>(1), DuplicateNames::kReject, At(0)));
  ASSERT_OK(catalog->AddVersion(SomeVersion(1), std::string("bytes"), {}));
  // A copy of the files is what a crash would leave behind.
  const TempFolder copy;
  for (const char* suffix : {"", "-wal"}) {
    std::filesystem::copy_file(path_ + suffix, copy.path() + "/catalog.db" + suffix);
  }
  const auto recovered = SqliteCatalog::Open(copy.path() + "/catalog.db").value();
  EXPECT_OK(recovered->FindVersion(IdOf<ClientId>(1), "file", 1, true));
}

TEST_F(SqliteCatalogTest, NeverGivesOutAVersionIdAgainAfterReopening) {
  int64_t last = 0;
  for (int process = 0; process < 3; ++process) {
    const auto catalog = Open().value();
    for (int i = 0; i < 1500; ++i) {
      const int64_t id = catalog->AllocateVersionId().value();
      ASSERT_GT(id, last);
      last = id;
    }
  }
}

TEST_F(SqliteCatalogTest, NeverGivesOutAVersionIdAgainWhoseReservationWasUndone) {
  constexpr int64_t kUnreserved = 5000;
  {
    const auto catalog = Open().value();
    ASSERT_OK(catalog->RegisterClient("name", IdOf<ClientId>(1), DuplicateNames::kReject, At(0)));
    ASSERT_OK(catalog->AddVersion(SomeVersion(kUnreserved), std::string("bytes"), {}));
  }
  EXPECT_GT(Open().value()->AllocateVersionId().value(), kUnreserved);
}

TEST_F(SqliteCatalogTest, RefusesACatalogOfANewerSchemaAndLeavesItAsItIs) {
  ASSERT_OK(Open());
  ASSERT_OK(Database::Open(path_, Database::Mode::kReadWrite)
                .value()
                ->Execute("PRAGMA user_version = 999"));
  const auto opened = Open();
  EXPECT_THAT(opened, StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_TRUE(absl::StrContains(opened.status().message(), "999")) << opened.status();
  ASSERT_OK(Database::Open(path_, Database::Mode::kReadWrite)
                .value()
                ->Execute("PRAGMA user_version = 3"));
  EXPECT_OK(Open());
}

TEST_F(SqliteCatalogTest, RefusesAFileThatIsNoDatabase) {
  std::ofstream(path_) << std::string(10'000, 'x');
  EXPECT_THAT(Open(), HasReason(Reason::kStateCorrupt));
}

TEST_F(SqliteCatalogTest, SaysThatThereIsNoFolderForIt) {
  EXPECT_THAT(SqliteCatalog::Open(folder_.path() + "/none/catalog.db"),
              HasReason(Reason::kStorageIo));
}

TEST_F(SqliteCatalogTest, KeepsAWriteAheadLog) {
  const auto catalog = Open().value();
  ASSERT_OK(catalog->RegisterClient("name", IdOf<ClientId>(1), DuplicateNames::kReject, At(0)));
  const auto other = Database::Open(path_, Database::Mode::kReadOnly).value();
  Query mode = other->Prepare("SELECT journal_mode = 'wal' FROM pragma_journal_mode");
  ASSERT_OK(mode.Step());
  EXPECT_EQ(mode.Int(0), 1);
}

// Queries must stay fast with millions of versions, so none may scan or sort a table that grows
// with them.
TEST_F(SqliteCatalogTest, FindsTheNewestVerifiedVersionByIndex) {
  ASSERT_OK(Open());
  const auto database = Database::Open(path_, Database::Mode::kReadOnly).value();
  Query plan = database->Prepare(
      "EXPLAIN QUERY PLAN SELECT version_id FROM versions "
      "WHERE file_id = 1 AND state = 2 ORDER BY version_id DESC LIMIT 1");
  ASSERT_OK(plan.Step());
  EXPECT_TRUE(absl::StrContains(plan.Blob(3), "INDEX versions_verified (file_id=?)"))
      << plan.Blob(3);
  EXPECT_THAT(plan.Step(), testing::IsOkAndHolds(false));
}

}  // namespace
}  // namespace backup::storage

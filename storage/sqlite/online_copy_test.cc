#include "storage/sqlite/online_copy.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/ids.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

using testing::HasReason;
using testing::StatusIs;

class OnlineCopyTest : public ::testing::Test {
 protected:
  static constexpr auto kNoPause = [] {};

  void Open() { catalog_ = SqliteCatalog::Open(path_).value(); }
  // A version whose content takes about `size_bytes` in the catalog.
  static Catalog::Work AddVersion(int64_t id, size_t size_bytes) {
    return [=](Transaction& transaction) {
      Version version;
      version.client_id = IdOf<ClientId>(1);
      version.file_name = absl::StrCat("file ", id % 100);
      version.version_id = id;
      version.size_bytes = 5;
      version.sha256 = std::string(32, 's');
      return transaction.AddVersion(version, std::string(size_bytes, 'x'), {}).status();
    };
  }
  void Fill(int versions, size_t size_bytes) {
    ASSERT_OK(catalog_->Run([](Transaction& transaction) {
      return transaction
          .RegisterClient("name", IdOf<ClientId>(1), DuplicateNames::kReject, absl::UnixEpoch())
          .status();
    }));
    for (int id = 1; id <= versions; ++id) ASSERT_OK(catalog_->Run(AddVersion(id, size_bytes)));
  }
  static int64_t VersionsIn(Catalog& catalog) {
    return catalog.Read([](Snapshot& snapshot) { return snapshot.Count(); })->versions;
  }
  // Overwrites bytes of the file.
  void Damage(int64_t offset, size_t size) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset).write(std::string(size, '\x7f').data(), static_cast<std::streamsize>(size));
  }

  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/catalog.db";
  const std::string copy_ = folder_.path() + "/copy.db";
  std::unique_ptr<SqliteCatalog> catalog_;
};

TEST_F(OnlineCopyTest, IsTheCatalogOfOneMoment) {
  Open();
  Fill(200, 10'000);
  ASSERT_OK(catalog_->CopyTo(copy_, kNoPause, {}));
  ASSERT_OK(catalog_->Run(AddVersion(201, 10)));
  const auto copy = SqliteCatalog::Open(copy_).value();
  EXPECT_EQ(VersionsIn(*copy), 200);
  EXPECT_EQ(VersionsIn(*catalog_), 201);
}

TEST_F(OnlineCopyTest, EndsThoughOthersWriteAllTheTimeAndKeepsNobodyWaiting) {
  Open();
  Fill(300, 20'000);
  std::atomic<bool> stop = false;
  std::atomic<int64_t> added = 0;
  std::thread writer([&] {
    for (int64_t id = 1000; !stop; ++id) {
      EXPECT_OK(catalog_->Run(AddVersion(id, 1000)));
      ++added;
    }
  });
  // Each step waits for others' writes: it would never end if these made it begin again.
  const auto wait_for_writes = [&] {
    const int64_t before = added.load();
    while (added.load() < before + 2) std::this_thread::yield();
  };
  EXPECT_OK(catalog_->CopyTo(copy_, wait_for_writes, {}));
  stop = true;
  writer.join();
  EXPECT_GT(added.load(), 2);
  const auto copy = SqliteCatalog::Open(copy_).value();
  EXPECT_GE(VersionsIn(*copy), 300);
  EXPECT_OK(copy->Check(kNoPause, {}));
}

TEST_F(OnlineCopyTest, EndsSoonWhenToldTo) {
  Open();
  Fill(200, 20'000);
  std::stop_source stop;
  EXPECT_THAT(catalog_->CopyTo(
                  copy_, [&] { stop.request_stop(); }, stop.get_token()),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(catalog_->Check(kNoPause, stop.get_token()), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_OK(catalog_->damage());
}

TEST_F(OnlineCopyTest, IsNotMadeOfADamagedCatalogWhichNobodyWritesToAnyMore) {
  Open();
  Fill(200, 20'000);
  catalog_.reset();
  // The middle of the file: pages of contents.
  Damage(static_cast<int64_t>(std::filesystem::file_size(path_) / 2 / 4096 * 4096), 3 * 4096);
  Open();
  ASSERT_OK(catalog_->damage());
  ASSERT_OK(catalog_->Run(AddVersion(500, 10)));
  EXPECT_THAT(catalog_->CopyTo(copy_, kNoPause, {}), HasReason(Reason::kStateCorrupt));
  EXPECT_THAT(catalog_->damage(), HasReason(Reason::kStateCorrupt));
  EXPECT_THAT(catalog_->Compact().status(), HasReason(Reason::kStateCorrupt));
  EXPECT_THAT(catalog_->Run(AddVersion(501, 10)), HasReason(Reason::kStateCorrupt));
  EXPECT_EQ(VersionsIn(*catalog_), 201) << "what can be read is read";
}

TEST_F(OnlineCopyTest, CheckFindsDamageThatNobodyMet) {
  Open();
  Fill(200, 20'000);
  catalog_.reset();
  Damage(static_cast<int64_t>(std::filesystem::file_size(path_) / 2 / 4096 * 4096), 3 * 4096);
  Open();
  const absl::Status checked = catalog_->Check(kNoPause, {});
  EXPECT_THAT(checked, HasReason(Reason::kStateCorrupt));
  EXPECT_NE(std::string(checked.message()).find("backupctl state rebuild"), std::string::npos);
  EXPECT_THAT(catalog_->damage(), HasReason(Reason::kStateCorrupt));
}

TEST_F(OnlineCopyTest, CheckFindsAnIndexThatDoesNotAgreeWithItsTable) {
  Open();
  Fill(20, 100);
  catalog_.reset();
  // For a while nobody knows of the index.
  for (const char* const change :
       {"PRAGMA writable_schema = ON; CREATE TABLE beside AS SELECT * FROM sqlite_schema "
        "WHERE name = 'clients_by_last_verified'; "
        "DELETE FROM sqlite_schema WHERE name = 'clients_by_last_verified'",
        "UPDATE clients SET last_verified_time = 1",
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM beside"}) {
    ASSERT_OK(Database::Open(path_, Database::Mode::kReadWrite).value()->Execute(change));
  }
  Open();
  EXPECT_THAT(catalog_->Check(kNoPause, {}), HasReason(Reason::kStateCorrupt));
}

TEST_F(OnlineCopyTest, CheckFindsAColumnWhoseNameIsAnother) {
  Open();
  catalog_.reset();
  {
    const auto database = Database::Open(path_, Database::Mode::kReadWrite).value();
    ASSERT_OK(
        database->Execute("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = "
                          "replace(sql, 'last_protocol_error_time', 'last_protocol_error_tide') "
                          "WHERE name = 'clients'; PRAGMA schema_version = 1000"));
  }
  Open();
  EXPECT_THAT(catalog_->Read(
                  [](Snapshot& snapshot) { return snapshot.ListClients(ClientId(), 1).status(); }),
              HasReason(Reason::kStateCorrupt));
  EXPECT_THAT(catalog_->damage(), HasReason(Reason::kStateCorrupt));
  Open();
  EXPECT_THAT(catalog_->Check(kNoPause, {}), HasReason(Reason::kStateCorrupt));
  Open();
  EXPECT_THAT(catalog_->CopyTo(copy_, kNoPause, {}), HasReason(Reason::kStateCorrupt));
}

TEST_F(OnlineCopyTest, DamageThatAReaderMeetsStopsTheWriter) {
  Open();
  Fill(200, 20'000);
  catalog_.reset();
  for (int64_t page = 4; page < 40; ++page) Damage(page * 4096, 4096);
  const auto opened = SqliteCatalog::Open(path_);
  if (!opened.ok()) {
    EXPECT_THAT(opened.status(), HasReason(Reason::kStateCorrupt));
    return;
  }
  catalog_ = std::move(*const_cast<absl::StatusOr<std::unique_ptr<SqliteCatalog>>&>(opened));
  const auto read =
      catalog_->Read([](Snapshot& snapshot) { return snapshot.ScanVersions(0, 1000); });
  ASSERT_THAT(read.status(), HasReason(Reason::kStateCorrupt));
  EXPECT_THAT(catalog_->Run(AddVersion(501, 10)), HasReason(Reason::kStateCorrupt));
}

TEST_F(OnlineCopyTest, CountsChangesButNotOfLeasesAndJobs) {
  Open();
  Fill(1, 10);
  const int64_t before = catalog_->changes();
  ASSERT_OK(catalog_->Run([](Transaction& transaction) -> absl::Status {
    const BlobLease lease = {IdOf<OwnerId>(1), absl::FromUnixSeconds(1)};
    RETURN_IF_ERROR(transaction.RenewLeases(lease));
    RETURN_IF_ERROR(transaction.PublishEpoch(lease, 0));
    JobState job;
    job.name = "sweep";
    RETURN_IF_ERROR(transaction.SaveJob(job));
    return transaction.ProbeWrite();
  }));
  EXPECT_EQ(catalog_->changes(), before);
  ASSERT_OK(catalog_->Run(AddVersion(2, 10)));
  EXPECT_GT(catalog_->changes(), before);
}

}  // namespace
}  // namespace backup::storage

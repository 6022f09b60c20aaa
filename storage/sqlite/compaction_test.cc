#include "storage/sqlite/compaction.h"

#include <chrono>
#include <filesystem>

#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/ids.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

constexpr int kVersions = 256;
constexpr size_t kContentSize = 64 << 10;

class CompactionTest : public ::testing::Test {
 protected:
  // Fills it with 16 MiB, of which nothing stays.
  void AddAndDeleteMuch(Catalog& catalog) {
    const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
    ASSERT_OK(catalog.Run([&](Transaction& transaction) {
      return transaction.RegisterClient("name", IdOf<ClientId>(1), DuplicateNames::kReject, now)
          .status();
    }));
    for (int i = 1; i <= kVersions; ++i) {
      ASSERT_OK(catalog.Run([&](Transaction& transaction) {
        Version version;
        version.client_id = IdOf<ClientId>(1);
        version.file_name = "file";
        version.version_id = i;
        version.sha256 = std::string(32, 's');
        return transaction.AddVersion(version, std::string(kContentSize, 'c'), {}).status();
      }));
    }
    ASSERT_OK(catalog.Run([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(transaction.DeleteClient(IdOf<ClientId>(1), now));
      return transaction.PurgeClient(IdOf<ClientId>(1), now, kVersions + 1).status();
    }));
  }

  // All steps; returns how many pages they gave back.
  int64_t Compact(Catalog& catalog) {
    int64_t pages = 0;
    Catalog::Compacted step;
    do {
      step = catalog.Compact().value();
      pages += step.pages;
    } while (!step.is_done);
    return pages;
  }

  int64_t SizeOf(const char* suffix) const {
    return static_cast<int64_t>(std::filesystem::file_size(path_ + suffix));
  }

  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/catalog.db";
};

TEST_F(CompactionTest, GivesBackAllThatIsNotUsedAndTheLogOnAFullDisk) {
  SpaceReserve reserve(folder_.path() + "/reserve");
  ASSERT_TRUE(reserve.Restore());
  const auto catalog = SqliteCatalog::Open(path_, {}, {nullptr, &reserve}).value();
  AddAndDeleteMuch(*catalog);
  EXPECT_GT(SizeOf("-wal"), 8 << 20);
  reserve.Release();
  EXPECT_GT(Compact(*catalog), kVersions * 16);
  EXPECT_LT(SizeOf(""), 1 << 20);
  EXPECT_LT(SizeOf("-wal"), 2 << 20);
}

TEST_F(CompactionTest, MakesTheFileSmallerAlsoIfTheLogHasJustBegunAnew) {
  SpaceReserve reserve(folder_.path() + "/reserve");
  ASSERT_TRUE(reserve.Restore());
  {
    const auto catalog = SqliteCatalog::Open(path_, {}, {nullptr, &reserve}).value();
    AddAndDeleteMuch(*catalog);
  }
  const auto catalog = SqliteCatalog::Open(path_, {}, {nullptr, &reserve}).value();
  ASSERT_GT(SizeOf(""), 8 << 20);
  reserve.Release();
  Compact(*catalog);
  EXPECT_LT(SizeOf(""), 1 << 20);
}

TEST_F(CompactionTest, KeepsAFewMebibytesForWhatComesNext) {
  const auto catalog = SqliteCatalog::Open(path_).value();
  AddAndDeleteMuch(*catalog);
  EXPECT_GT(Compact(*catalog), 0);
  EXPECT_LT(SizeOf(""), 5 << 20);
  EXPECT_GT(SizeOf(""), 3 << 20);
  EXPECT_EQ(Compact(*catalog), 0);
}

TEST_F(CompactionTest, LeavesTheLogToWhoReadsIt) {
  const auto catalog = SqliteCatalog::Open(path_).value();
  const auto shell = Database::Open(path_, Database::Mode::kReadOnly).value();
  ASSERT_OK(shell->Begin(Database::Mode::kReadOnly));
  ASSERT_OK(shell->Prepare("SELECT * FROM totals").Step());
  AddAndDeleteMuch(*catalog);
  const auto begin = std::chrono::steady_clock::now();
  Compact(*catalog);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4)) << "it waited";
  EXPECT_GT(SizeOf("-wal"), 8 << 20);
  ASSERT_OK(shell->Commit());
  Compact(*catalog);
  EXPECT_LT(SizeOf("-wal"), 2 << 20);
}

TEST_F(CompactionTest, IsDoneAtOnceWithACatalogThatCannot) {
  const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
  ASSERT_OK(old->Execute("CREATE TABLE t AS SELECT zeroblob(1000000); DROP TABLE t"));
  const Catalog::Compacted step = VacuumSome(*old, Compacting::kAll).value();
  EXPECT_EQ(step.pages, 0);
  EXPECT_TRUE(step.is_done);
}

}  // namespace
}  // namespace backup::storage

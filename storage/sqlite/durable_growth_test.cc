#include "storage/sqlite/durable_growth.h"

#include <sqlite3.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/testing/fault_vfs.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

constexpr char kLargeRow[] = "INSERT INTO t VALUES(randomblob(1000000))";

class DurableGrowthTest : public ::testing::Test {
 protected:
  DurableGrowthTest() : database_(Open()) {
    EXPECT_OK(
        database_->Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                           "PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(x)"));
  }

  std::unique_ptr<Database> Open() {
    return Database::Open(path_, Database::Mode::kReadWrite, {}, DurableGrowth(vfs_.name()))
        .value();
  }

  std::string Bytes(const std::string& path) const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // Adds a row that it does not copy. What the database grows by for it is the second to be synced,
  // after the log.
  void CheckpointBesideAReader(bool growth_fails) {
    const std::unique_ptr<Database> reader = Open();
    ASSERT_OK(reader->Execute("BEGIN; SELECT count(*) FROM t"));
    ASSERT_OK(database_->Execute(kLargeRow));
    if (growth_fails) vfs_.FailNth(FaultVfs::Op::kSync, 2, SQLITE_IOERR_FSYNC, EIO);
    const auto state = database_->Checkpoint(Database::Checkpointing::kCopy).value();
    ASSERT_GT(state.copied, 0);
    ASSERT_LT(state.copied, state.pages);
  }

  int64_t Rows() {
    Query query = database_->Prepare("SELECT count(*) FROM t");
    EXPECT_TRUE(query.Step().value());
    return query.Int(0);
  }

  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/database";
  const std::string log_ = path_ + "-wal";
  FaultVfs vfs_;
  std::unique_ptr<Database> database_;
};

bool IsZero(const std::string& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

TEST_F(DurableGrowthTest, WhatTheLogGrowsByIsSyncedBeforeAnythingIsWrittenThere) {
  const size_t before = std::filesystem::file_size(log_);
  std::string synced;
  vfs_.HookNth(FaultVfs::Op::kSync, 1, [&] { synced = Bytes(log_); });
  ASSERT_OK(database_->Execute(kLargeRow));
  ASSERT_GT(synced.size(), before);
  EXPECT_TRUE(IsZero(synced.substr(before)));
}

TEST_F(DurableGrowthTest, WhatACheckpointWillNeedIsSyncedBeforeAnythingIsWrittenThere) {
  ASSERT_OK(database_->Execute(kLargeRow));
  const size_t before = std::filesystem::file_size(path_);
  std::string synced;
  // The first one is of the log.
  vfs_.HookNth(FaultVfs::Op::kSync, 2, [&] { synced = Bytes(path_); });
  ASSERT_OK(database_->Checkpoint(Database::Checkpointing::kCopy).status());
  EXPECT_GT(synced.size(), 1'000'000u);
  EXPECT_TRUE(IsZero(synced.substr(before)));
  EXPECT_EQ(Bytes(path_).size(), synced.size());
}

TEST_F(DurableGrowthTest, ASyncThatFailsWhenItGrowsFailsWhatWasWrittenBefore) {
  const size_t before = std::filesystem::file_size(log_);
  vfs_.FailNth(FaultVfs::Op::kSync, 1, SQLITE_IOERR_FSYNC, ENOSPC);
  EXPECT_FALSE(database_->Execute(kLargeRow).ok());
  EXPECT_EQ(std::filesystem::file_size(log_), before);
  EXPECT_EQ(Rows(), 0);
  ASSERT_OK(database_->Execute(kLargeRow));
  EXPECT_EQ(Rows(), 1);
}

// What a sync that fails was for is copied from the log again, though a checkpoint that a reader
// kept from going on, and that therefore synced nothing, had copied some of it.
TEST_F(DurableGrowthTest, WhatACheckpointCouldNotSyncIsCopiedAgain) {
  for (const bool growth_fails : {false, true}) {
    const std::string old = Bytes(path_);
    const int64_t rows = Rows();
    ASSERT_OK(database_->Execute(kLargeRow));
    CheckpointBesideAReader(growth_fails);
    if (!growth_fails) vfs_.FailNth(FaultVfs::Op::kSync, 2, SQLITE_IOERR_FSYNC, EIO);
    EXPECT_FALSE(database_->Checkpoint(Database::Checkpointing::kCopy).ok());
    ASSERT_TRUE(vfs_.has_failed());
    // As if none of it had come to the disk.
    std::string lost = old;
    lost.resize(std::filesystem::file_size(path_));
    std::ofstream(path_, std::ios::binary | std::ios::in).write(lost.data(), std::ssize(lost));

    ASSERT_OK(database_->Checkpoint(Database::Checkpointing::kTruncate).status());
    ASSERT_EQ(std::filesystem::file_size(log_), 0u);
    EXPECT_EQ(Rows(), rows + 2);
    Query query = database_->Prepare("PRAGMA integrity_check");
    ASSERT_TRUE(query.Step().value());
    EXPECT_EQ(query.Blob(0), "ok");
  }
}

TEST_F(DurableGrowthTest, GrowthThatFailsIsCutOffAndTheNextOneIsAnother) {
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit unlimited = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  const size_t before = std::filesystem::file_size(log_);
  // Of the first 256 KiB of zeros some can be written.
  const struct rlimit limit = {before + 100'000, unlimited.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status inserted = database_->Execute(kLargeRow);
  const size_t after = std::filesystem::file_size(log_);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  std::signal(SIGXFSZ, ignored);

  EXPECT_FALSE(inserted.ok());
  EXPECT_LE(after, before + 100'000);
  // Only what held pages stays.
  EXPECT_FALSE(IsZero(Bytes(log_).substr(after - 4096)));
  EXPECT_EQ(Rows(), 0);
  ASSERT_OK(database_->Execute(kLargeRow));
  database_ = Open();
  EXPECT_EQ(Rows(), 1);
}

}  // namespace
}  // namespace backup::storage

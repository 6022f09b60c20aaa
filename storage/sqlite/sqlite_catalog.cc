#include "storage/sqlite/sqlite_catalog.h"

#include <utility>

#include "base/status_macros.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {
namespace {

// Readers kept open when idle; more are opened when more are needed at once.
constexpr size_t kMaxIdleReaders = 8;

constexpr char kWriterSettings[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
    "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; "
    // A checkpoint copies every page once, however often it was written: at 32 MiB of log instead
    // of 4 that is far less work, and opening a log of that size takes milliseconds.
    "PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -32768;";
constexpr char kReaderSettings[] =
    "PRAGMA wal_autocheckpoint = 0; PRAGMA query_only = ON; PRAGMA mmap_size = 0;";

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteCatalog>> SqliteCatalog::Open(const std::string& path,
                                                                   const StorageMetrics& metrics,
                                                                   const char* vfs) {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> writer,
                   Database::Open(path, Database::Mode::kReadWrite, metrics.busy, vfs));
  RETURN_IF_ERROR(writer->Execute(kWriterSettings));
  RETURN_IF_ERROR(Migrate(*writer));
  return std::unique_ptr<SqliteCatalog>(new SqliteCatalog(path, std::move(writer), metrics, vfs));
}

SqliteCatalog::~SqliteCatalog() {
  // After all that waits, so that what it saw is written too; that it may be lost is part of the
  // contract.
  Run([](Transaction&) { return absl::OkStatus(); }).IgnoreError();
  SubmitSeenTimes();
}

void SqliteCatalog::Submit(Work work, Done done) {
  SubmitSeenTimes();
  writes_.Submit(
      [this, work = std::move(work)](Database& database) -> absl::Status {
        SqliteTransaction transaction(database);
        RETURN_IF_ERROR(work(transaction));
        seen_.Remember(transaction.seen());
        return absl::OkStatus();
      },
      std::move(done));
}

void SqliteCatalog::SubmitSeenTimes() {
  SeenTimes::Times taken = seen_.Take();
  if (taken.empty()) return;
  const auto times = std::make_shared<const SeenTimes::Times>(std::move(taken));
  writes_.Submit(
      [times](Database& database) -> absl::Status {
        for (const auto& [id, time] : *times) RETURN_IF_ERROR(NoteSeen(database, id, time));
        return absl::OkStatus();
      },
      [this, times](const absl::Status& committed) {
        if (!committed.ok()) seen_.Remember(*times);
      });
}

absl::Status SqliteCatalog::ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> reader, TakeReader());
  // One transaction, so that several statements see one state.
  RETURN_IF_ERROR(reader->Begin(Database::Mode::kReadOnly));
  SqliteTransaction snapshot(*reader);
  absl::Status result = read(snapshot);
  if (reader->Commit().ok()) GiveBack(std::move(reader));
  return result;
}

absl::StatusOr<std::unique_ptr<Database>> SqliteCatalog::TakeReader() {
  {
    MutexLock lock(mutex_);
    if (!idle_readers_.empty()) {
      std::unique_ptr<Database> reader = std::move(idle_readers_.back());
      idle_readers_.pop_back();
      return reader;
    }
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Database> reader,
                   Database::Open(path_, Database::Mode::kReadOnly, metrics_.busy, vfs_));
  RETURN_IF_ERROR(reader->Execute(kReaderSettings));
  return reader;
}

void SqliteCatalog::GiveBack(std::unique_ptr<Database> reader) {
  MutexLock lock(mutex_);
  if (idle_readers_.size() < kMaxIdleReaders) idle_readers_.push_back(std::move(reader));
}

}  // namespace backup::storage

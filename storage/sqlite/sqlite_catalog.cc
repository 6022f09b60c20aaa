#include "storage/sqlite/sqlite_catalog.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "storage/sqlite/compaction.h"
#include "storage/sqlite/durable_growth.h"
#include "storage/sqlite/online_copy.h"
#include "storage/sqlite/rebuild.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {
namespace {

// Readers kept open when idle; more are opened when more are needed at once.
constexpr size_t kMaxIdleReaders = 8;
constexpr absl::Duration kReaderWait = absl::Seconds(5);
// Of more reads at once the others wait, for so long: a thousand calls would else open a thousand
// files, which SQLite keeps open until the process ends.
constexpr int kMaxReaders = 64;
// From so much log on a copy makes no pauses any more: it would grow with them.
constexpr uintmax_t kHurryLogBytes = uintmax_t{48} << 20;

constexpr char kWriterSettings[] =
    // Of a new catalog: it can give room back. Before anything is written.
    "PRAGMA auto_vacuum = INCREMENTAL; "
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
    "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; "
    // Not every page of what is deleted is overwritten, as Debian's SQLite would: on a full disk
    // there is no room for so much log.
    "PRAGMA secure_delete = FAST; "
    // A checkpoint copies every page once, however often it was written: at 32 MiB of log instead
    // of 4 that is far less work, and opening a log of that size takes milliseconds. A log that
    // grew larger is cut to that when it begins anew. It is the WriteQueue that begins checkpoints.
    "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 33554432; "
    "PRAGMA cache_size = -32768;";
constexpr char kReaderSettings[] =
    "PRAGMA wal_autocheckpoint = 0; PRAGMA query_only = ON; PRAGMA mmap_size = 0; "
    // Reads, so that all files are open from now on.
    "PRAGMA schema_version;";

absl::StatusOr<std::unique_ptr<Database>> OpenWriter(const std::string& path,
                                                     const StorageMetrics& metrics,
                                                     const char* vfs) {
  ASSIGN_OR_RETURN(
      std::unique_ptr<Database> writer,
      Database::Open(path, Database::Mode::kReadWrite, metrics.busy, DurableGrowth(vfs)));
  RETURN_IF_ERROR(writer->Execute(kWriterSettings));
  RETURN_IF_ERROR(Migrate(*writer));
  return writer;
}

// The same, with the reserve's help if there is no room.
absl::StatusOr<std::unique_ptr<Database>> OpenWriterWithReserve(
    const std::string& path, const StorageMetrics& metrics, const SqliteCatalog::Options& options) {
  absl::StatusOr<std::unique_ptr<Database>> writer = OpenWriter(path, metrics, options.vfs);
  while (ReasonOf(writer.status()) == Reason::kStorageFull && options.reserve != nullptr &&
         options.reserve->Release()) {
    writer = OpenWriter(path, metrics, options.vfs);
  }
  return writer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteCatalog>> SqliteCatalog::Open(const std::string& path,
                                                                   const StorageMetrics& metrics,
                                                                   const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> writer, OpenWriterWithReserve(path, metrics, options));
  ASSIGN_OR_RETURN(const bool is_old, NeedsRebuild(*writer));
  if (is_old) {
    const int64_t max_bytes =
        options.rebuild ? std::numeric_limits<int64_t>::max() : kMaxUnaskedRebuildBytes;
    Rebuild(path, std::move(writer), max_bytes, SpaceReserve::kMaxBytes);
    ASSIGN_OR_RETURN(writer, OpenWriterWithReserve(path, metrics, options));
  }
  const auto note = std::make_shared<DamageNote>();
  writer->set_on_damage([note](const absl::Status& damage) { note->Note(damage); });
  std::unique_ptr<SqliteCatalog> catalog(
      new SqliteCatalog(path, std::move(writer), metrics, options, note));
  // From now on at least one reader is open.
  RETURN_IF_ERROR(catalog->Read([](Snapshot&) { return absl::OkStatus(); }));
  return catalog;
}

SqliteCatalog::~SqliteCatalog() {
  // After all that waits, so that what it saw is written too; that it may be lost is part of the
  // contract.
  Run([](Transaction&) { return absl::OkStatus(); }).IgnoreError();
  SubmitSeenTimes();
}

void SqliteCatalog::Submit(Work work, Done done) {
  if (const absl::Status damage = damage_->damage(); !damage.ok()) return done(damage);
  SubmitSeenTimes();
  const auto is_change = std::make_shared<bool>(false);
  writes_.Submit(
      [this, is_change, work = std::move(work)](Database& database) -> absl::Status {
        RETURN_IF_ERROR(damage_->damage());
        SqliteTransaction transaction(database, DamagedChunks::Recipes::kSkipped, reserve_);
        const int64_t before = database.total_changes();
        RETURN_IF_ERROR(work(transaction));
        seen_.Remember(transaction.seen());
        *is_change = database.total_changes() - before > transaction.passing_changes();
        return absl::OkStatus();
      },
      // Not before it is committed: what reads the count first reads what is counted.
      [this, is_change, done = std::move(done)](const absl::Status& committed) {
        if (committed.ok() && *is_change) ++changes_;
        done(committed);
      });
}

absl::Status SqliteCatalog::CopyTo(const std::string& path, const std::function<void()>& pause,
                                   const std::stop_token& token) {
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<Database> source, OpenReader());
    // What others write stays in the log until it is done: if that is much, it hurries.
    const auto pause_while_log_is_small = [&] {
      std::error_code error;
      const auto log_bytes = std::filesystem::file_size(path_ + "-wal", error);
      if (error || log_bytes < kHurryLogBytes) pause();
    };
    RETURN_IF_ERROR(OnlineCopy::Run(*source, path, vfs_, pause_while_log_is_small, token));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> copy,
                   Database::Open(path, Database::Mode::kReadWrite, {}, vfs_));
  // Nobody else has it: then no log is begun beside it.
  RETURN_IF_ERROR(copy->Execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON"));
  const absl::Status checked = CheckQuickly(*copy, token);
  if (ReasonOf(checked) != Reason::kStateCorrupt) return checked;
  // What is copied faithfully is as damaged as its source; but the copy alone may be damaged.
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> source, OpenReader());
  const absl::Status again = CheckQuickly(*source, token);
  if (ReasonOf(again) == Reason::kStateCorrupt) damage_->Note(again);
  RETURN_IF_ERROR(again);
  return MakeError(Reason::kStorageIo, "the copy of the catalog is damaged, the catalog is not",
                   "catalog");
}

absl::Status SqliteCatalog::Check(const std::function<void()>& pause,
                                  const std::stop_token& token) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> reader, OpenReader());
  const absl::Status checked = CheckAllTables(*reader, pause, token);
  if (ReasonOf(checked) == Reason::kStateCorrupt) damage_->Note(checked);
  return checked;
}

absl::Status SqliteCatalog::damage() const { return damage_->damage(); }

absl::StatusOr<Catalog::Compacted> SqliteCatalog::Compact() {
  const bool is_full = reserve_ != nullptr && !reserve_->CheckGrowth().ok();
  const Compacting how = is_full ? Compacting::kAll : Compacting::kExcess;
  Compacted step;
  RETURN_IF_ERROR(Await([&](Done done) {
    writes_.Submit(
        [&](Database& database) -> absl::Status {
          RETURN_IF_ERROR(damage_->damage());
          ASSIGN_OR_RETURN(step, VacuumSome(database, how));
          return absl::OkStatus();
        },
        std::move(done));
  }));
  if (!step.is_done) return step;
  RETURN_IF_ERROR(Await([&](Done done) {
    writes_.SubmitAlone(
        [&](Database& database) -> absl::Status {
          RETURN_IF_ERROR(damage_->damage());
          return CutOffLog(database, path_ + "-wal");
        },
        std::move(done));
  }));
  return step;
}

void SqliteCatalog::SubmitSeenTimes() {
  SeenTimes::Times taken = seen_.Take();
  if (taken.empty()) return;
  const auto times = std::make_shared<const SeenTimes::Times>(std::move(taken));
  writes_.Submit(
      [this, times](Database& database) -> absl::Status {
        RETURN_IF_ERROR(damage_->damage());
        for (const auto& [id, time] : *times) RETURN_IF_ERROR(NoteSeen(database, id, time));
        return absl::OkStatus();
      },
      [this, times](const absl::Status& committed) {
        if (!committed.ok()) seen_.Remember(*times);
      });
}

absl::Status SqliteCatalog::ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> reader, TakeReader());
  absl::Cleanup give_back = [&] { GiveBack(std::move(reader)); };
  // One transaction, so that several statements see one state.
  RETURN_IF_ERROR(reader->Begin(Database::Mode::kReadOnly));
  SqliteTransaction snapshot(*reader, DamagedChunks::Recipes::kRead);
  absl::Status result = read(snapshot);
  if (!reader->Commit().ok()) reader.reset();
  return result;
}

absl::StatusOr<std::unique_ptr<Database>> SqliteCatalog::TakeReader() {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(kReaderWait);
  {
    MutexLock lock(mutex_);
    while (idle_readers_.empty() && taken_readers_ >= kMaxReaders && WaitForReader(end)) {
    }
    if (!idle_readers_.empty()) return PopIdleReader();
    ++taken_readers_;
  }
  absl::StatusOr<std::unique_ptr<Database>> opened = OpenReader();
  if (opened.ok()) return opened;
  MutexLock lock(mutex_);
  --taken_readers_;
  while (idle_readers_.empty() && taken_readers_ > 0 && WaitForReader(end)) {
  }
  if (!idle_readers_.empty()) return PopIdleReader();
  return opened;
}

bool SqliteCatalog::WaitForReader(std::chrono::steady_clock::time_point end) {
  const auto left = end - std::chrono::steady_clock::now();
  if (left <= left.zero()) return false;
  given_back_.WaitFor(mutex_, absl::FromChrono(left));
  return true;
}

std::unique_ptr<Database> SqliteCatalog::PopIdleReader() {
  std::unique_ptr<Database> reader = std::move(idle_readers_.back());
  idle_readers_.pop_back();
  ++taken_readers_;
  return reader;
}

void SqliteCatalog::GiveBack(std::unique_ptr<Database> reader) {
  MutexLock lock(mutex_);
  --taken_readers_;
  if (reader != nullptr && idle_readers_.size() < kMaxIdleReaders)
    idle_readers_.push_back(std::move(reader));
  given_back_.NotifyOne();
}

absl::StatusOr<std::unique_ptr<Database>> SqliteCatalog::OpenReader() const {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> reader,
                   Database::Open(path_, Database::Mode::kReadOnly, metrics_.busy, vfs_));
  reader->set_on_damage([note = damage_](const absl::Status& damage) { note->Note(damage); });
  RETURN_IF_ERROR(reader->Execute(kReaderSettings));
  return reader;
}

}  // namespace backup::storage

#include "storage/sqlite/database.h"

#include <sqlite3.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

// How long a statement waits for a lock; only a reader that meets a checkpoint ever does.
constexpr int kBusyTimeoutMs = 5000;
constexpr int kBusyWaitMs = 5;

constexpr absl::string_view kPrepare = "prepare a statement";

constexpr int kReadSize = 1 << 20;

// A file of the catalog that is open: the log, or with `op` FILE_POINTER the database. Else null.
sqlite3_file* OpenFileOf(sqlite3* connection, int op) {
  sqlite3_file* file = nullptr;
  const bool is_open = sqlite3_file_control(connection, "main", op, &file) == SQLITE_OK &&
                       file != nullptr && file->pMethods != nullptr;
  return is_open ? file : nullptr;
}

// The errno with which such a file failed last.
int LastErrno(sqlite3* connection, int op) {
  int system_error = 0;
  if (sqlite3_file* const file = OpenFileOf(connection, op); file != nullptr)
    file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &system_error);
  return system_error;
}

// Whether what failed last found no room. SQLite calls only some of it a full disk: not an
// exhausted quota, nor an index of the log that cannot grow.
bool RanOutOfRoom(sqlite3* connection) {
  const int code = sqlite3_extended_errcode(connection);
  if (code == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE) return true;
  if ((code & 0xFF) != SQLITE_IOERR) return false;
  for (const int op : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
    const int system_error = LastErrno(connection, op);
    if (system_error == ENOSPC || system_error == EDQUOT) return true;
  }
  return false;
}

// Whether the last that failed on the catalog's files was the disk: what it cannot read, SQLite
// calls damage, though it may be so for a moment (unixRead() in its os_unix.c).
bool DiskFailedToRead(sqlite3* connection) {
  for (const int op : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
    const int system_error = LastErrno(connection, op);
    if (system_error == EIO || system_error == ENXIO) return true;
  }
  return false;
}

// The one place where SQLite's codes become our reasons.
absl::Status SqliteError(sqlite3* connection, absl::string_view doing) {
  const int code = sqlite3_extended_errcode(connection);
  // What it says may quote what is in the file.
  std::string what = absl::StrCat("the catalog cannot ", doing, ": ",
                                  NameToText(sqlite3_errmsg(connection)), " (", code, ")");
  if (RanOutOfRoom(connection)) {
    return MakeError(Reason::kStorageFull, absl::StrCat("free disk space and try again: ", what),
                     "catalog");
  }
  switch (code & 0xFF) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      if (DiskFailedToRead(connection)) {
        absl::StrAppend(&what,
                        "; the disk failed to read it: if it can again, a new start of the "
                        "service is enough");
      }
      return DamagedCatalog(what);
    case SQLITE_ERROR:
      // Of what we wrote ourselves nothing is wrong but what it refers to.
      if (doing == kPrepare) return DamagedCatalog(what);
      return MakeError(Reason::kStorageIo, what);
    case SQLITE_INTERRUPT:
      return absl::CancelledError(what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return MakeError(Reason::kBackendDown, absl::StrCat("try again: ", what));
    default:
      return MakeError(Reason::kStorageIo, what);
  }
}

}  // namespace

absl::Status DamagedCatalog(absl::string_view what) {
  return MakeError(
      Reason::kStateCorrupt,
      absl::StrCat("the catalog is damaged: stop the service and run `backupctl state rebuild`, or "
                   "`backupctl state restore`: ",
                   what),
      "catalog");
}

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Query& Query::Bind(int64_t value) {
  if (statement_ == nullptr) return *this;
  CHECK_EQ(sqlite3_bind_int64(statement_, next_parameter_++, value), SQLITE_OK);
  return *this;
}

Query& Query::BindBlob(absl::string_view value) {
  if (statement_ == nullptr) return *this;
  database_->bound_bytes_ += std::ssize(value);
  // An empty view may have no address, which SQLite would take for NULL.
  const char* data = value.empty() ? "" : value.data();
  CHECK_EQ(sqlite3_bind_blob64(statement_, next_parameter_++, data, value.size(), SQLITE_TRANSIENT),
           SQLITE_OK);
  return *this;
}

Query& Query::BindText(absl::string_view value) {
  if (statement_ == nullptr) return *this;
  CHECK_EQ(sqlite3_bind_text64(statement_, next_parameter_++, value.data(), value.size(),
                               SQLITE_TRANSIENT, SQLITE_UTF8),
           SQLITE_OK);
  return *this;
}

Query& Query::BindNull() {
  if (statement_ == nullptr) return *this;
  CHECK_EQ(sqlite3_bind_null(statement_, next_parameter_++), SQLITE_OK);
  return *this;
}

absl::StatusOr<bool> Query::Step() {
  if (statement_ == nullptr) return error_;
  RETURN_IF_ERROR(database_->CheckTransaction());
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->Fail("run a statement");
}

int64_t Query::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Query::Blob(int column) const {
  const char* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const int size = sqlite3_column_bytes(statement_, column);
  return size == 0 ? std::string() : std::string(data, static_cast<size_t>(size));
}

bool Query::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path, Mode mode,
                                                         Counter busy, const char* vfs) {
  // Counting memory would take a lock that all connections share at every allocation.
  [[maybe_unused]] static const int configured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  const int flags = (mode == Mode::kReadWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                              : SQLITE_OPEN_READONLY) |
                    SQLITE_OPEN_NOMUTEX;
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &connection, flags, vfs);
  if (connection == nullptr)
    return MakeError(Reason::kStorageIo, "the catalog cannot be opened: out of memory");
  std::unique_ptr<Database> database(new Database(connection, busy));
  if (code != SQLITE_OK) return SqliteError(connection, "be opened");
  sqlite3_busy_handler(connection, WaitForLock, database.get());
  return database;
}

int Database::WaitForLock(void* database, int tries) {
  if (tries == 0) static_cast<Database*>(database)->busy_.Add();
  if (tries >= kBusyTimeoutMs / kBusyWaitMs) return 0;
  sqlite3_sleep(kBusyWaitMs);
  return 1;
}

Database::~Database() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  CHECK_EQ(sqlite3_close(connection_), SQLITE_OK);
}

std::string Database::LibraryVersion() { return sqlite3_libversion(); }

absl::Status Database::Execute(const char* sql) {
  RETURN_IF_ERROR(CheckTransaction());
  if (sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    return Fail("run a command");
  return absl::OkStatus();
}

absl::Status Database::DisableTriggers() {
  const int code =
      sqlite3_db_config(connection_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, static_cast<int*>(nullptr));
  return code == SQLITE_OK ? absl::OkStatus() : Fail("leave triggers out");
}

Query Database::Prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr && sqlite3_prepare_v3(connection_, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                                 &statement, nullptr) != SQLITE_OK) {
    return Query(Fail(kPrepare));
  }
  return Query(*this, statement);
}

int64_t Database::total_changes() const { return sqlite3_total_changes64(connection_); }

int64_t Database::last_row_id() const { return sqlite3_last_insert_rowid(connection_); }

absl::Status Database::Begin(Mode mode) {
  Rollback();  // Of one that could not be rolled back before.
  RETURN_IF_ERROR(Prepare(mode == Mode::kReadWrite ? "BEGIN IMMEDIATE" : "BEGIN").Run());
  begun_ = true;
  bound_bytes_ = 0;
  return absl::OkStatus();
}

absl::Status Database::CheckTransaction() {
  if (!begun_ || InTransaction()) return absl::OkStatus();
  if (lost_by_.ok()) lost_by_ = MakeError(Reason::kStorageIo, "the catalog lost a transaction");
  return lost_by_;
}

absl::Status Database::Commit() {
  if (!damage_.ok()) {
    Rollback();
    return damage_;
  }
  absl::Status committed = Prepare("COMMIT").Run();
  const int code = sqlite3_extended_errcode(connection_);
  // Whatever failed after the log was written leaves open what a restart finds in it.
  if (ReasonOf(committed) == Reason::kStorageFull && code != SQLITE_FULL &&
      code != SQLITE_IOERR_WRITE) {
    committed = MakeError(Reason::kStorageIo, committed.message());
  }
  Rollback();
  return committed;
}

void Database::Rollback() {
  begun_ = false;
  lost_by_ = absl::OkStatus();
  if (InTransaction()) Prepare("ROLLBACK").Run().IgnoreError();
}

absl::Status Database::Fail(absl::string_view doing) {
  absl::Status error = SqliteError(connection_, doing);
  if (RanOutOfRoom(connection_)) ran_out_of_room_ = true;
  if (begun_ && !InTransaction() && lost_by_.ok()) lost_by_ = error;
  if (ReasonOf(error) == Reason::kStateCorrupt) {
    damage_.Update(error);
    on_damage_(error);
  }
  return error;
}

void Database::Interrupt() { sqlite3_interrupt(connection_); }

void Database::KeepLogUntilCheckpoint() { sqlite3_wal_hook(connection_, NoteLogPages, this); }

int Database::NoteLogPages(void* database, sqlite3*, const char*, int pages) {
  static_cast<Database*>(database)->log_pages_ = pages;
  return SQLITE_OK;
}

absl::StatusOr<Database::LogState> Database::Checkpoint(Checkpointing mode) {
  LogState state;
  int code = sqlite3_wal_checkpoint_v2(connection_, nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                       &state.pages, &state.copied);
  if (code != SQLITE_OK) return Fail("empty its log");
  if (mode == Checkpointing::kCopy || state.copied < state.pages) return state;
  sqlite3_busy_handler(connection_, nullptr, nullptr);
  code = sqlite3_wal_checkpoint_v2(connection_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, &state.pages,
                                   &state.copied);
  sqlite3_busy_handler(connection_, WaitForLock, this);
  if (code != SQLITE_OK && code != SQLITE_BUSY) return Fail("cut its log off");
  if (code == SQLITE_OK) log_pages_ = 0;
  return state;
}

absl::StatusOr<int64_t> Database::SizeBytes() {
  Query size = Prepare("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
  RETURN_IF_ERROR(size.Step().status());
  return size.Int(0);
}

// By SQLite's own descriptor: to close another one would give up its locks.
void Database::ReadIntoMemory(const std::stop_token& token) const {
  sqlite3_file* const file = OpenFileOf(connection_, SQLITE_FCNTL_FILE_POINTER);
  sqlite3_int64 size = 0;
  if (file == nullptr || file->pMethods->xFileSize(file, &size) != SQLITE_OK) return;
  std::string buffer(kReadSize, '\0');
  for (sqlite3_int64 offset = 0; offset < size && !token.stop_requested(); offset += kReadSize) {
    const auto part = static_cast<int>(std::min<sqlite3_int64>(kReadSize, size - offset));
    file->pMethods->xRead(file, buffer.data(), part, offset);
  }
}

bool Database::HasSystemError() const {
  return LastErrno(connection_, SQLITE_FCNTL_JOURNAL_POINTER) != 0 ||
         LastErrno(connection_, SQLITE_FCNTL_FILE_POINTER) != 0;
}

bool Database::InTransaction() const { return sqlite3_get_autocommit(connection_) == 0; }

}  // namespace backup::storage

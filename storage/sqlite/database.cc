#include "storage/sqlite/database.h"

#include <sqlite3.h>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

// How long a statement waits for a lock; only a reader that meets a checkpoint ever does.
constexpr int kBusyTimeoutMs = 5000;
constexpr int kBusyWaitMs = 5;

// The one place where SQLite's codes become our reasons.
absl::Status SqliteError(sqlite3* connection, absl::string_view doing) {
  const int code = sqlite3_extended_errcode(connection);
  const std::string what =
      absl::StrCat("the catalog cannot ", doing, ": ", sqlite3_errmsg(connection), " (", code, ")");
  switch (code & 0xFF) {
    case SQLITE_FULL:
      return MakeError(Reason::kStorageFull, absl::StrCat("free disk space and try again: ", what),
                       "catalog");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return MakeError(Reason::kStateCorrupt, absl::StrCat("restore the data directory: ", what),
                       "catalog");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return MakeError(Reason::kBackendDown, absl::StrCat("try again: ", what));
    default:
      return MakeError(Reason::kStorageIo, what);
  }
}

}  // namespace

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
  // An empty view may have no address, which SQLite would take for NULL.
  const char* data = value.empty() ? "" : value.data();
  CHECK_EQ(sqlite3_bind_blob64(statement_, next_parameter_++, data, value.size(), SQLITE_TRANSIENT),
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
  CHECK(connection != nullptr) << "out of memory";
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

Query Database::Prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr && sqlite3_prepare_v3(connection_, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                                 &statement, nullptr) != SQLITE_OK) {
    return Query(Fail("prepare a statement"));
  }
  return Query(*this, statement);
}

absl::Status Database::Begin(Mode mode) {
  Rollback();  // Of one that could not be rolled back before.
  RETURN_IF_ERROR(Prepare(mode == Mode::kReadWrite ? "BEGIN IMMEDIATE" : "BEGIN").Run());
  begun_ = true;
  return absl::OkStatus();
}

absl::Status Database::CheckTransaction() {
  if (!begun_ || InTransaction()) return absl::OkStatus();
  if (lost_by_.ok()) lost_by_ = MakeError(Reason::kStorageIo, "the catalog lost a transaction");
  return lost_by_;
}

absl::Status Database::Commit() {
  const absl::Status committed = Prepare("COMMIT").Run();
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
  if (begun_ && !InTransaction() && lost_by_.ok()) lost_by_ = error;
  return error;
}

bool Database::InTransaction() const { return sqlite3_get_autocommit(connection_) == 0; }

}  // namespace backup::storage

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/metrics.h"

struct sqlite3;
struct sqlite3_stmt;

namespace backup::storage {

// One use of a prepared statement: bind the parameters in order, then Step(). Resets it at the end,
// so that the next use starts clean. An error in preparing shows at Step(). Used by one thread at a
// time.
class Query {
 public:
  explicit Query(sqlite3_stmt* statement) : statement_(statement) {}
  // Of what could not be prepared: Step() fails with `error`.
  explicit Query(absl::Status error) : error_(std::move(error)) {}
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& Bind(int64_t value);
  Query& BindBlob(absl::string_view value);
  Query& BindNull();

  // True if there is a row to read; false at the end.
  absl::StatusOr<bool> Step();
  // For statements without rows.
  absl::Status Run() { return Step().status(); }

  // Columns of the current row, from 0.
  int64_t Int(int column) const;
  std::string Blob(int column) const;
  bool IsNull(int column) const;

 private:
  sqlite3_stmt* const statement_ = nullptr;
  const absl::Status error_;
  int next_parameter_ = 1;
};

// A connection. Used by one thread at a time.
class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  // `busy` counts statements that had to wait for a lock.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path, Mode mode,
                                                        Counter busy = {});
  ~Database();
  static std::string LibraryVersion();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs statements that give no rows.
  absl::Status Execute(const char* sql);
  // A statement, prepared once and kept. `sql` must be a literal: its address is the key.
  Query Prepare(const char* sql);
  // Whether a transaction is open. Some errors, such as a full disk, end one on their own.
  bool InTransaction() const;

 private:
  Database(sqlite3* connection, Counter busy) : connection_(connection), busy_(busy) {}
  // Called by SQLite when a statement meets a lock for the `tries`-th time; whether it is to try
  // again.
  static int WaitForLock(void* database, int tries);

  sqlite3* const connection_;
  const Counter busy_;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

}  // namespace backup::storage

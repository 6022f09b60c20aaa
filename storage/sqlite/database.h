#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
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

class Database;

// An error with reason STATE_CORRUPT that says what to do.
absl::Status DamagedCatalog(absl::string_view what);

// One use of a prepared statement: bind the parameters in order, then Step(). Resets it at the end,
// so that the next use starts clean. An error in preparing shows at Step(). Used by one thread at a
// time.
class Query {
 public:
  Query(Database& database, sqlite3_stmt* statement)
      : database_(&database), statement_(statement) {}
  // Of what could not be prepared: Step() fails with `error`.
  explicit Query(absl::Status error) : error_(std::move(error)) {}
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& Bind(int64_t value);
  Query& BindBlob(absl::string_view value);
  Query& BindText(absl::string_view value);
  Query& BindNull();

  // True if there is a row to read; false at the end. Within a transaction that is lost
  // (Database::CheckTransaction) it runs nothing and fails.
  absl::StatusOr<bool> Step();
  // For statements without rows.
  absl::Status Run() { return Step().status(); }

  // Columns of the current row, from 0.
  int64_t Int(int column) const;
  std::string Blob(int column) const;
  bool IsNull(int column) const;

 private:
  Database* const database_ = nullptr;
  sqlite3_stmt* const statement_ = nullptr;
  const absl::Status error_;
  int next_parameter_ = 1;
};

// A connection. Used by one thread at a time.
class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };
  // Is told what is wrong with a database that SQLite calls damaged, each time that it does.
  using OnDamage = std::function<void(const absl::Status&)>;

  // `busy` counts statements that had to wait for a lock. `vfs` names the SQLite VFS that reaches
  // the file; null: the system's own.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path, Mode mode,
                                                        Counter busy = {},
                                                        const char* vfs = nullptr);
  ~Database();
  static std::string LibraryVersion();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // `on_damage` must not use this; called by whoever uses this.
  void set_on_damage(OnDamage on_damage) { on_damage_ = std::move(on_damage); }
  // Makes what runs on this connection now, if anything, end with Cancelled. Thread-safe.
  void Interrupt();

  // Whether the system gave a cause when a file of this connection failed last, if any did.
  bool HasSystemError() const;

  // Of all pages, those in the log included.
  absl::StatusOr<int64_t> SizeBytes();
  // Reads the file from its beginning to its end, so that who then reads here and there finds it in
  // memory. Ends soon after `token` is told to stop; what cannot be read is passed over.
  void ReadIntoMemory(const std::stop_token& token) const;

  // Runs statements that give no rows.
  absl::Status Execute(const char* sql);
  // From now on nothing that happens on this connection fires a trigger.
  absl::Status DisableTriggers();
  // Rows that were changed on this connection, ever, those by triggers included.
  int64_t total_changes() const;
  // The rowid that the last INSERT made.
  int64_t last_row_id() const;
  // A statement, prepared once and kept. `sql` must be a literal: its address is the key.
  Query Prepare(const char* sql);

  // A transaction: from Begin() until Commit() or Rollback() nothing runs outside of it. Some
  // errors, such as a full disk, make SQLite end a transaction on its own, after which it would
  // commit every further statement by itself: here, each of them fails with the error that ended
  // the transaction.

  // Begins one: to read, or to write, with the lock that only one writer has.
  absl::Status Begin(Mode mode);
  // OK while all that was done in the transaction can still be committed.
  absl::Status CheckTransaction();
  // Commits. After an error nothing of the transaction is left to be committed, and what it did is
  // undone; after reason STORAGE_IO it may be durable all the same. Nothing is committed to what
  // was found damaged.
  absl::Status Commit();
  // Undoes all of it, if SQLite has not done so on its own.
  void Rollback();

  // Bytes that were bound to statements since Begin(): about how much a transaction adds.
  int64_t bound_bytes() const { return bound_bytes_; }
  // Whether anything failed for want of room since this was last asked, whatever it was called.
  bool TakeRanOutOfRoom() { return std::exchange(ran_out_of_room_, false); }

  // The write-ahead log. Only the one connection that writes may use this.

  // From now on checkpoints are left to the caller, who can tell why one fails.
  void KeepLogUntilCheckpoint();
  // Pages that the log had after the last commit.
  int log_pages() const { return log_pages_; }
  // Copies what no reader hinders from the log into the database, and with kTruncate cuts the log
  // off if that is all of it. Waits for no reader: those of an old state keep what came after it in
  // the log, which is no error.
  enum class Checkpointing { kCopy, kTruncate };
  struct LogState {
    int pages = 0;   // In the log.
    int copied = 0;  // Of those, to the database.
  };
  absl::StatusOr<LogState> Checkpoint(Checkpointing mode);

 private:
  friend class Query;
  friend class OnlineCopy;

  Database(sqlite3* connection, Counter busy) : connection_(connection), busy_(busy) {}
  // The status of what SQLite failed at last, by `doing`; noted if it ended the transaction.
  absl::Status Fail(absl::string_view doing);
  bool InTransaction() const;
  static int NoteLogPages(void* database, sqlite3*, const char*, int pages);
  // Called by SQLite when a statement meets a lock for the `tries`-th time; whether it is to try
  // again.
  static int WaitForLock(void* database, int tries);

  sqlite3* const connection_;
  const Counter busy_;
  OnDamage on_damage_ = [](const absl::Status&) {};
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
  int64_t bound_bytes_ = 0;
  int log_pages_ = 0;
  bool ran_out_of_room_ = false;
  bool begun_ = false;    // And neither committed nor rolled back by us.
  absl::Status damage_;   // What SQLite said first, if anything.
  absl::Status lost_by_;  // What ended the transaction that was begun.
};

}  // namespace backup::storage

#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/postgres/conninfo.h"
#include "storage/postgres/server_errors.h"

struct pg_conn;
struct pg_result;

namespace backup::storage::postgres {

class Connection;

// One use of a statement: bind the parameters in order, then Run(), which costs no round trip, or
// Start() and Step(). Used by one thread at a time; the connection must outlive it.
class Query {
 public:
  Query(Connection& connection, const char* sql) : connection_(connection), sql_(sql) {}
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& Bind(int64_t value);
  Query& BindBool(bool value);
  Query& BindBlob(absl::string_view value);
  Query& BindNull();
  Query& BindAll(const std::vector<int64_t>& values);
  Query& BindAllBlobs(const std::vector<std::string>& values);
  // The same, of which some may be NULL.
  Query& BindAll(const std::vector<std::optional<int64_t>>& values);
  Query& BindAllBlobs(const std::vector<std::optional<std::string>>& values);
  // What it changes does not count as a change (Connection::changed()).
  Query& Passing();

  // Sends it soon. Its error, if it has one, is that of the next Step() or Flush().
  absl::Status Run();
  // The same for one that has rows: several that were started share a round trip.
  Query& Start();
  // True if there is a row to read; false at the end. Starts it if that was not done.
  absl::StatusOr<bool> Step();

  // Columns of the current row, from 0. Of numbers, whatever their size, and booleans; 0 of NULL.
  int64_t Int(int column) const;
  std::string Blob(int column) const;
  bool IsNull(int column) const;

 private:
  friend class Connection;

  struct Parameter {
    uint32_t type = 0;
    bool is_null = false;
    std::string bytes = {};  // In PostgreSQL's binary form.
  };

  Connection& connection_;
  const char* const sql_;
  std::vector<Parameter> parameters_;
  bool is_passing_ = false;
  bool is_started_ = false;
  absl::Status status_;
  std::unique_ptr<pg_result, void (*)(pg_result*)> rows_{nullptr, nullptr};
  int row_ = -1;
};

// A connection to the server. Whatever waits for it does so for a bounded time. Statements are sent
// in pipeline mode and prepared at their first use. Used by one thread at a time.
class Connection {
 public:
  // Asks all hosts at once, and takes the first that can be written to. FailedPrecondition for what
  // somebody must put right, also a server that is too old; else reason BACKEND_DOWN.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(
      const std::vector<ConnectionParameters>& hosts, absl::Duration connect_timeout,
      absl::Duration answer_timeout);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // `sql` must live as long as the connection.
  Query Prepare(const char* sql) { return Query(*this, sql); }
  // Sends what waits and reads all answers. Returns the first error since the last rollback: after
  // one the server does nothing but to roll back.
  absl::Status Flush();
  // Rolls back, to a savepoint if `sql` says so, whatever happened before, but not if the
  // connection is lost.
  absl::Status RollBack(const char* sql = "ROLLBACK");
  // Commits. After an error `is_unknown` tells whether it may have happened all the same.
  absl::Status Commit(bool& is_unknown);
  // Ends a transaction that only read, without waiting for the answer.
  absl::Status EndRead();
  // Runs several statements, outside a transaction. Waits for as long as it takes.
  absl::Status ExecuteScript(const std::string& sql);

  // What is to be done about the last error.
  Remedy remedy() const { return remedy_; }
  // Whether it is of no more use.
  bool is_lost() const { return !lost_.ok(); }
  // Whether it looks usable while nobody uses it: the server has not closed it.
  bool IsAlive();

  // Whether statements were sent since ForgetChanges() that change something or may do so.
  bool has_written() const { return has_written_; }
  // From now on what is changed is of this piece of work.
  void BeginWork(int number) {
    work_ = number;
    has_written_ = false;
  }
  // The pieces of work that changed rows, passing ones not counted, as far as answers came.
  const std::set<int>& changed() const { return changed_; }
  void ForgetChanges() { changed_.clear(); }

 private:
  friend class Query;

  // What an answer is to.
  struct Sent {
    enum class Kind { kPrepare, kStatement, kSync };
    Kind kind = Kind::kStatement;
    Query* query = nullptr;  // Null if nobody asks for its rows.
    const char* sql = nullptr;
    bool is_passing = false;
    int work = 0;
  };

  Connection(pg_conn* connection, absl::Duration answer_timeout);

  absl::Status Send(Query& query, bool keeps_rows);
  // The statement's name; sends its preparation if that was not done.
  absl::StatusOr<std::string> NameOf(const Query& query);
  // Reads answers until none is left.
  absl::Status ReadAnswers();
  void TakeResult(Sent& sent, std::unique_ptr<pg_result, void (*)(pg_result*)> result);
  void TakeError(const Sent& sent, const pg_result* result);
  // Until there is something to read. Sends what the socket takes meanwhile.
  absl::Status WaitForAnswer(std::chrono::steady_clock::time_point end);
  absl::Status Lose(absl::string_view why);
  static void TakeNotice(void* connection, const pg_result* notice);

  pg_conn* const connection_;
  const absl::Duration answer_timeout_;
  std::unordered_map<std::string, std::string> names_;  // Of prepared statements, by their text.
  int64_t next_name_ = 1;
  std::deque<Sent> sent_;  // Without an answer so far.
  absl::Status failure_;   // The first since the last rollback.
  absl::Status lost_;
  Remedy remedy_ = Remedy::kNone;
  bool was_warned_ = false;
  bool has_committed_ = false;
  bool has_written_ = false;
  int work_ = 0;
  std::set<int> changed_;
};

}  // namespace backup::storage::postgres

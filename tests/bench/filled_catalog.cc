#include "tests/bench/filled_catalog.h"

#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/status_macros.h"

namespace backup::bench {
namespace {

constexpr int64_t kDailyFiles = 100'000;
constexpr char kWhich[] = "type IN ('trigger', 'index') AND sql IS NOT NULL";

// Ids of chunks are at random, as digests are. $0: versions, $1: bytes of a content, $2: when the
// first version came, in microseconds.
constexpr char kDailyVersions[] = R"(
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 1000)
  INSERT INTO clients (client_id, name, create_time, last_seen_time, public_key, sealed_session_key,
                       session_key_bits, last_verified_time)
  SELECT CAST(printf('client %09d', i) AS BLOB), CAST(printf('client %d', i) AS BLOB), 1, 1, x'', x'', 0, 1 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 100000)
  INSERT INTO files (file_id, client_id, name, version_count)
  SELECT i + 1, CAST(printf('client %09d', i / 100) AS BLOB), CAST(printf('file %04d', i % 100) AS BLOB),
         $0 / 100000 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $0)
  INSERT INTO versions (version_id, file_id, size_bytes, encoded_size, checksum_kind, checksum, sha256, state,
                        receive_time, verify_time, form, chunk_no, kept_bytes)
  SELECT i + 1, i % 100000 + 1, $1, $1, 1, i, randomblob(32), 2, $2 + i / 100000 * 86400000000,
         $2 + i / 100000 * 86400000000, 1, i + 1, $1 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $0)
  INSERT INTO chunks (chunk_no, chunk_id, size_bytes, refs, stored_size, form, coding)
  SELECT i + 1, randomblob(32), $1, 1, $1, 1, 1 FROM n;
INSERT INTO chunk_payloads SELECT chunk_no, randomblob($1) FROM chunks;
UPDATE clients SET file_count = 100, version_count = $0 / 1000, verified_versions = $0 / 1000,
                   stored_bytes = $0 / 1000 * $1, kept_bytes = $0 / 1000 * $1;
UPDATE totals SET clients = 1000, files = 100000, versions = $0, verified_versions = $0, stored_bytes = $0 * $1,
                  next_version_id = $0 + 1, chunks = $0, unique_bytes = $0 * $1, compressed_bytes = $0 * $1;
)";

// A connection to a database. Used by one thread at a time.
class Connection {
 public:
  static absl::StatusOr<Connection> Open(const std::string& path) {
    sqlite3* database = nullptr;
    const bool opened =
        sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK;
    Connection connection(database);
    if (!opened) return absl::NotFoundError(absl::StrCat("there is no catalog ", path));
    return connection;
  }
  Connection(Connection&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Connection& operator=(Connection&&) = delete;
  ~Connection() { sqlite3_close(database_); }

  absl::Status Run(const std::string& sql) {
    if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK)
      return absl::OkStatus();
    return absl::InternalError(absl::StrCat("filling the catalog: ", sqlite3_errmsg(database_)));
  }

  // The first column of all rows, each with a semicolon behind it.
  absl::StatusOr<std::string> List(const std::string& query) {
    std::string rows;
    const auto append = [](void* out, int, char** columns, char**) {
      absl::StrAppend(static_cast<std::string*>(out), columns[0], ";");
      return 0;
    };
    if (sqlite3_exec(database_, query.c_str(), append, &rows, nullptr) == SQLITE_OK) return rows;
    return absl::InternalError(absl::StrCat("asking the catalog: ", sqlite3_errmsg(database_)));
  }

 private:
  explicit Connection(sqlite3* database) : database_(database) {}

  sqlite3* database_;
};

}  // namespace

absl::Status FillCatalog(const std::string& path, const std::string& statements) {
  ASSIGN_OR_RETURN(Connection catalog, Connection::Open(path));
  ASSIGN_OR_RETURN(const std::string drop,
                   catalog.List(absl::StrCat(
                       "SELECT 'DROP ' || type || ' ' || name FROM sqlite_master WHERE ", kWhich)));
  ASSIGN_OR_RETURN(const std::string make_again,
                   catalog.List(absl::StrCat("SELECT sql FROM sqlite_master WHERE ", kWhich)));
  RETURN_IF_ERROR(
      catalog.Run(absl::StrCat("PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; "
                               "PRAGMA cache_size = -262144; BEGIN;",
                               drop, statements, "COMMIT;")));
  return catalog.Run(
      absl::StrCat("BEGIN;", make_again, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"));
}

absl::StatusOr<bool> HasColumn(const std::string& path, const std::string& table,
                               const std::string& column) {
  ASSIGN_OR_RETURN(Connection catalog, Connection::Open(path));
  ASSIGN_OR_RETURN(const std::string name,
                   catalog.List(absl::StrCat("SELECT name FROM pragma_table_info('", table,
                                             "') WHERE name = '", column, "'")));
  return !name.empty();
}

absl::Status FillWithDailyVersions(const std::string& path, int64_t versions,
                                   int64_t payload_bytes) {
  const absl::Time first = SystemClock().Now() - absl::Hours(24) * (versions / kDailyFiles);
  return FillCatalog(
      path, absl::Substitute(kDailyVersions, versions, payload_bytes, absl::ToUnixMicros(first)));
}

}  // namespace backup::bench

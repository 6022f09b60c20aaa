#include "services/backupctl/old_server/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"

namespace backup::ctl::old_server {
namespace {

using Connection = std::unique_ptr<sqlite3, int (*)(sqlite3*)>;
using Statement = std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)>;

// SQLite's own (sqlite.org/fileformat.html).
constexpr absl::string_view kDatabaseMagic("SQLite format 3\0", 16);
constexpr absl::string_view kJournalMagic("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 8);
// Where its locks are: pending, reserved, and 510 shared ones.
constexpr off_t kLocksBegin = 0x40000000;
constexpr off_t kLocksSize = 512;

// Of SQLite's machine: far less than a millisecond, unless values are large.
constexpr int kStepsBetweenChecks = 1000;

constexpr char kNoServerRuns[] =
    "(if no server runs: let sqlite3 open a copy of both files, and import that)";

absl::Status InUse(absl::string_view path, absl::string_view how) {
  return WithExitCode(
      absl::AbortedError(absl::StrCat(path, " ", how, ": stop the old server, and import again")),
      kExitInUse);
}

absl::Status Unreadable(absl::string_view path, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(
      path, " ", why, ": is it the old server's database? `sqlite3 ", path,
      " .recover | sqlite3 NEW` may rescue what a damaged one still holds; import NEW then"));
}

// The first bytes of a file beside the database; empty if there is none, or nothing in it.
std::string Beginning(const std::string& path, size_t size) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string bytes(size, '\0');
  const ssize_t count = fd.valid() ? ::pread(fd.get(), bytes.data(), size, 0) : 0;
  bytes.resize(count > 0 ? static_cast<size_t>(count) : 0);
  return bytes;
}

// That the file holds all there is: nobody has a lock, and no change lies beside it.
absl::Status CheckAtRest(int fd, const std::string& path) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = kLocksBegin;
  lock.l_len = kLocksSize;
  if (::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
    return InUse(path, lock.l_pid > 0 ? absl::StrCat("is in use by process ", lock.l_pid)
                                      : "is in use by another process");
  }
  if (!Beginning(path + "-wal", 1).empty())
    return InUse(path, absl::StrCat("has changes beside it, in its -wal file, ", kNoServerRuns));
  // A journal that is over may stay, with zeros at its beginning.
  if (Beginning(path + "-journal", kJournalMagic.size()) == kJournalMagic) {
    return InUse(
        path, absl::StrCat(
                  "has a change in it that was not finished, and a -journal file that undoes it ",
                  kNoServerRuns));
  }
  return absl::OkStatus();
}

// Whether the process of this folder in /proc has the file open. One that is gone, or may not be
// looked at, has nothing open.
bool HasOpen(const std::filesystem::path& process, const std::filesystem::path& file) {
  std::error_code error;
  for (std::filesystem::directory_iterator open(process / "fd", error), end; !error && open != end;
       open.increment(error)) {
    std::error_code closed;
    if (std::filesystem::read_symlink(open->path(), closed) == file) return true;
  }
  return false;
}

// Another process that has the file open, as far as this one may know.
std::optional<std::string> FindUser(const std::string& path) {
  std::error_code error;
  const std::filesystem::path file = std::filesystem::canonical(path, error);
  for (std::filesystem::directory_iterator process("/proc", error), end; !error && process != end;
       process.increment(error)) {
    const std::string pid = process->path().filename();
    const bool is_process = absl::ascii_isdigit(static_cast<unsigned char>(pid[0]));
    if (is_process && pid != absl::StrCat(::getpid()) && HasOpen(process->path(), file)) return pid;
  }
  return std::nullopt;
}

// A file as it is now.
struct Fingerprint {
  explicit Fingerprint(int fd) {
    struct stat info = {};
    if (::fstat(fd, &info) != 0) return;
    size = info.st_size;
    seconds = info.st_mtim.tv_sec;
    nanos = info.st_mtim.tv_nsec;
  }
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
  off_t size = 0;
  time_t seconds = 0;
  long nanos = 0;
};

absl::StatusOr<UniqueFd> OpenFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", path));
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  if (Beginning(path, kDatabaseMagic.size()) != kDatabaseMagic)
    return Unreadable(path, "is no SQLite database");
  return fd;
}

// `immutable`: SQLite believes that nobody changes the file, so it neither locks it nor looks for
// or makes a file beside it, also of a database in WAL mode. That it is true, CheckAtRest() and
// Fingerprint see to.
absl::StatusOr<Connection> Connect(const std::string& path) {
  std::string uri = "file://";
  for (const char c : std::filesystem::absolute(path).string()) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '/') {
      uri.push_back(c);
    } else {
      absl::StrAppendFormat(&uri, "%%%02X", byte);
    }
  }
  absl::StrAppend(&uri, "?mode=ro&immutable=1");
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(uri.c_str(), &raw, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, nullptr);
  Connection connection(raw, sqlite3_close);
  if (code != SQLITE_OK) return Unreadable(path, sqlite3_errstr(code));
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return connection;
}

std::string Quoted(absl::string_view identifier) {
  std::string quoted = "\"";
  for (const char c : identifier) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + "\"";
}

absl::StatusOr<Statement> Prepare(sqlite3* connection, const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v2(connection, sql.c_str(), -1, &raw, nullptr);
  Statement statement(raw, sqlite3_finalize);
  if (code != SQLITE_OK) return absl::DataLossError(sqlite3_errmsg(connection));
  return statement;
}

// All of the first column's values, as text.
absl::StatusOr<std::vector<std::string>> Select(sqlite3* connection, const std::string& sql) {
  ASSIGN_OR_RETURN(const Statement statement, Prepare(connection, sql));
  std::vector<std::string> values;
  int code = SQLITE_ROW;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), 0));
    values.emplace_back(text == nullptr ? "" : text);
  }
  if (code != SQLITE_DONE) return absl::DataLossError(sqlite3_errmsg(connection));
  return values;
}

std::string Bytes(const void* data, int size) {
  if (data == nullptr || size <= 0) return "";
  return std::string(static_cast<const char*>(data),
                     std::min(static_cast<size_t>(size), kMaxCellSize));
}

Cell ReadCell(sqlite3_stmt* row, int column) {
  Cell cell;
  switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
      cell.type = Cell::Type::kInteger;
      cell.integer = sqlite3_column_int64(row, column);
      break;
    case SQLITE_FLOAT:
      cell.type = Cell::Type::kReal;
      cell.real = sqlite3_column_double(row, column);
      break;
    case SQLITE_TEXT: {
      cell.type = Cell::Type::kText;
      const void* const text = sqlite3_column_text(row, column);
      cell.bytes = Bytes(text, sqlite3_column_bytes(row, column));
      break;
    }
    case SQLITE_BLOB: {
      cell.type = Cell::Type::kBlob;
      const void* const blob = sqlite3_column_blob(row, column);
      cell.bytes = Bytes(blob, sqlite3_column_bytes(row, column));
      break;
    }
    default:
      break;
  }
  return cell;
}

// As far as it can be read; an error in the middle is one of `problems`.
DatabaseTable ReadTable(sqlite3* connection, const std::string& name,
                        std::vector<std::string>& problems) {
  DatabaseTable table;
  table.name = name;
  const auto fail = [&](absl::string_view why) {
    problems.push_back(absl::StrCat("the table ", name, " can be read only as far as row ",
                                    table.rows.size(), ": ", why));
    return table;
  };
  const absl::StatusOr<Statement> select =
      Prepare(connection, absl::StrCat("SELECT * FROM ", Quoted(name)));
  if (!select.ok()) return fail(select.status().message());
  sqlite3_stmt* const rows = select->get();
  const int columns = sqlite3_column_count(rows);
  for (int i = 0; i < columns; ++i) {
    const char* const column = sqlite3_column_name(rows, i);
    table.columns.emplace_back(column == nullptr ? "" : column);
  }
  int code = SQLITE_ROW;
  while ((code = sqlite3_step(rows)) == SQLITE_ROW) {
    if (std::ssize(table.rows) == kMaxRows) return fail("that is as many as are read");
    std::vector<Cell>& row = table.rows.emplace_back();
    for (int i = 0; i < columns; ++i) row.push_back(ReadCell(rows, i));
  }
  return code == SQLITE_DONE ? table : fail(sqlite3_errmsg(connection));
}

// For SQLite, which breaks off if this is not 0.
int IsInterrupted(void* interrupt) { return static_cast<Interrupt*>(interrupt)->requested(); }

absl::StatusOr<Database> ReadAll(sqlite3* connection, const std::string& path) {
  Database database;
  const auto names = Select(connection, "SELECT name FROM sqlite_master WHERE type = 'table'");
  if (!names.ok())
    return Unreadable(path, absl::StrCat("is damaged (", names.status().message(), ")"));
  const auto findings = Select(connection, "PRAGMA quick_check(1)");
  const std::string finding = !findings.ok()      ? std::string(findings.status().message())
                              : findings->empty() ? ""
                                                  : findings->front();
  if (finding != "ok" && finding != "") {
    database.problems.push_back(absl::StrCat("the database is damaged, so rows may be missing (",
                                             finding, "); `sqlite3 ", path,
                                             " .recover | sqlite3 NEW` may rescue more"));
  }
  for (const std::string& name : *names) {
    if (absl::EqualsIgnoreCase(name, "clients"))
      database.clients = ReadTable(connection, name, database.problems);
    if (absl::EqualsIgnoreCase(name, "files"))
      database.files = ReadTable(connection, name, database.problems);
  }
  if (database.clients.name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has no table \"clients\", so it is not the old server's; it has: ",
                     names->empty() ? "none" : absl::StrJoin(*names, ", ")));
  }
  if (database.clients.columns.empty() ||
      (database.clients.rows.empty() && !database.problems.empty()))
    return Unreadable(path, absl::StrCat("is damaged (", database.problems.back(), ")"));
  return database;
}

}  // namespace

absl::StatusOr<Database> ReadDatabase(const std::string& path, const Interrupt& interrupt) {
  ASSIGN_OR_RETURN(const UniqueFd file, OpenFile(path));
  RETURN_IF_ERROR(CheckAtRest(file.get(), path));
  const Fingerprint before(file.get());
  ASSIGN_OR_RETURN(const Connection connection, Connect(path));
  sqlite3_progress_handler(connection.get(), kStepsBetweenChecks, IsInterrupted,
                           const_cast<Interrupt*>(&interrupt));
  absl::StatusOr<Database> database = ReadAll(connection.get(), path);
  RETURN_IF_ERROR(interrupt.Check());
  RETURN_IF_ERROR(CheckAtRest(file.get(), path));
  if (Fingerprint(file.get()) != before) return InUse(path, "changed while it was read");
  if (const auto pid = FindUser(path); pid && database.ok()) {
    database->notes.push_back(
        absl::StrCat("process ", *pid, " has ", path,
                     " open: if it is the old server, what it takes from now on is left behind"));
  }
  return database;
}

}  // namespace backup::ctl::old_server

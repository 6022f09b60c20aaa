#include "storage/sqlite/online_copy.h"

#include <sqlite3.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/space_reserve.h"
#include "storage/sqlite/schema.h"

namespace backup::storage {
namespace {

// Nobody reads it before it is whole, and it is made again after a crash: so no journal, no sync.
constexpr char kCopySettings[] =
    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; "
    "PRAGMA cache_size = -2048;";

// Up to this size the indices of a database are compared with its tables: some seconds, once all of
// it is in memory. Meanwhile the log grows.
constexpr int64_t kMaxCompareBytes = int64_t{256} << 20;

// A copy must leave what is reserved to recover from a full disk.
absl::Status CheckRoom(const std::string& path, int64_t size_bytes) {
  struct statvfs disk = {};
  if (::statvfs(std::filesystem::path(path).parent_path().c_str(), &disk) != 0) {
    return MakeError(Reason::kStorageIo, absl::StrCat("cannot look for room for ", path),
                     "snapshots");
  }
  const auto block = static_cast<int64_t>(disk.f_frsize);
  const int64_t needed =
      size_bytes + SpaceReserve::SizeFor(static_cast<int64_t>(disk.f_blocks) * block);
  if (static_cast<int64_t>(disk.f_bavail) * block >= needed) return absl::OkStatus();
  return MakeError(
      Reason::kStorageFull,
      absl::StrCat("free disk space: a copy of the catalog needs ", needed, " bytes more"),
      "snapshots");
}

absl::Status CheckGoOn(const std::stop_token& token) {
  return token.stop_requested() ? absl::CancelledError("told to stop") : absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ListTables(Database& database) {
  Query query = database.Prepare("SELECT name FROM sqlite_schema WHERE type = 'table'");
  std::vector<std::string> tables;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, query.Step());
    if (!found) return tables;
    tables.push_back(query.Blob(0));
  }
}

// What a check of SQLite's finds first, which says enough; empty: nothing. How many to look for
// cannot be asked for: SQLite 3.46 takes a number for a table's name.
absl::StatusOr<std::string> FirstFinding(Database& database, const char* check,
                                         const std::string& table, const std::stop_token& token) {
  const std::stop_callback interrupt(token, [&] { database.Interrupt(); });
  RETURN_IF_ERROR(CheckGoOn(token));
  Query query = database.Prepare(check);
  if (!table.empty()) query.BindText(table);
  ASSIGN_OR_RETURN(const bool found, query.Step());
  RETURN_IF_ERROR(CheckGoOn(token));
  std::string result = found ? query.Blob(0) : "nothing was checked";
  return result == "ok" ? "" : std::move(result);
}

std::string ToText(const std::string& finding) {
  return NameToText(absl::StrReplaceAll(finding, {{"\n", "; "}}));
}

// Whether a line of a finding tells of a page that could not be read: of what is in it that says
// nothing. These are all the texts that SQLite's btree.c has for that.
bool SaysUnread(absl::string_view line, const Database& database) {
  constexpr absl::string_view kUnread = "unable to get the page. error code=";
  const size_t at = line.find(kUnread);
  if (at != absl::string_view::npos) {
    const absl::string_view code = line.substr(at + kUnread.size());
    int number = 0;
    return absl::SimpleAtoi(code.substr(0, code.find_first_not_of("0123456789")), &number) &&
           (number & 0xFF) != SQLITE_CORRUPT;
  }
  if (absl::StrContains(line, "failed to get page")) return true;
  // Of the map of pages; so it calls what is wrong in it, too.
  return absl::StrContains(line, "ailed to read ptrmap") && database.HasSystemError();
}

// Whether a line may be about nothing but what is behind a page that could not be read.
bool FollowsFromUnread(absl::string_view line) {
  return absl::StrContains(line, "Child page depth differs") ||
         absl::StrContains(line, "never used");
}

// Whether a finding, which has a line for each thing, tells of pages that could not be read and of
// nothing else.
bool IsAllUnread(const std::string& finding, const Database& database) {
  bool any = false;
  for (const absl::string_view line : absl::StrSplit(finding, '\n')) {
    const bool is_heading = absl::StartsWith(line, "*** in database ");
    if (is_heading || FollowsFromUnread(line)) continue;
    if (!SaysUnread(line, database)) return false;
    any = true;
  }
  return any;
}

absl::Status RunCheck(Database& database, const char* check, const std::string& table,
                      const std::stop_token& token) {
  ASSIGN_OR_RETURN(const std::string finding, FirstFinding(database, check, table, token));
  if (finding.empty()) return absl::OkStatus();
  // What could not be read for a moment is found wrong, too; what is damaged stays so.
  ASSIGN_OR_RETURN(const std::string again, FirstFinding(database, check, table, token));
  if (again.empty() || IsAllUnread(again, database)) {
    return MakeError(Reason::kStorageIo,
                     absl::StrCat("the catalog could not be read to check it: ", ToText(finding)),
                     "catalog");
  }
  return DamagedCatalog(ToText(again));
}

}  // namespace

absl::Status OnlineCopy::Run(Database& source, const std::string& path, const char* vfs,
                             const std::function<void()>& pause, const std::stop_token& token) {
  RETURN_IF_ERROR(source.Begin(Database::Mode::kReadOnly));
  const absl::Cleanup end = [&] { source.Rollback(); };
  // Reads, so that the transaction sees one state from now on.
  RETURN_IF_ERROR(source.Prepare("SELECT count(*) FROM sqlite_schema").Step().status());
  Query size = source.Prepare(
      "SELECT page_count, page_size FROM pragma_page_count, "
      "pragma_page_size");
  RETURN_IF_ERROR(size.Step().status());
  const int64_t page_size = size.Int(1);
  RETURN_IF_ERROR(CheckRoom(path, size.Int(0) * page_size));
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> copy,
                   Database::Open(path, Database::Mode::kReadWrite, {}, vfs));
  RETURN_IF_ERROR(copy->Execute(kCopySettings));
  sqlite3_backup* const backup =
      sqlite3_backup_init(copy->connection_, "main", source.connection_, "main");
  if (backup == nullptr) return copy->Fail("begin a copy");
  absl::Cleanup finish = [&] { sqlite3_backup_finish(backup); };
  int code = SQLITE_OK;
  while (code == SQLITE_OK) {
    RETURN_IF_ERROR(CheckGoOn(token));
    code = sqlite3_backup_step(backup, kStepPages);
    if (code == SQLITE_OK) {
      pause();
      // Others write to the same disk meanwhile.
      RETURN_IF_ERROR(CheckRoom(path, sqlite3_backup_remaining(backup) * page_size));
    }
  }
  // What failed is known to both connections or to one.
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) return source.Fail("be copied");
  std::move(finish).Cancel();
  const int finished = sqlite3_backup_finish(backup);
  if (code != SQLITE_DONE || finished != SQLITE_OK) return copy->Fail("be copied");
  return absl::OkStatus();
}

absl::Status CheckQuickly(Database& database, const std::stop_token& token) {
  RETURN_IF_ERROR(CheckSchema(database));
  return RunCheck(database, "SELECT quick_check FROM pragma_quick_check", /*table=*/"", token);
}

absl::Status CheckAllTables(Database& database, const std::function<void()>& pause,
                            const std::stop_token& token) {
  RETURN_IF_ERROR(CheckSchema(database));
  ASSIGN_OR_RETURN(const std::vector<std::string> tables, ListTables(database));
  ASSIGN_OR_RETURN(const int64_t size_bytes, database.SizeBytes());
  if (size_bytes <= kMaxCompareBytes) database.ReadIntoMemory(token);
  const char* const check = size_bytes <= kMaxCompareBytes
                                ? "SELECT integrity_check FROM pragma_integrity_check(?)"
                                : "SELECT quick_check FROM pragma_quick_check(?)";
  // What can be read may be damaged all the same.
  absl::Status unread;
  for (const std::string& table : tables) {
    const absl::Status checked = RunCheck(database, check, table, token);
    if (ReasonOf(checked) != Reason::kStorageIo) RETURN_IF_ERROR(checked);
    unread.Update(checked);
    pause();
  }
  return unread;
}

}  // namespace backup::storage

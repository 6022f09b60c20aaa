#include "storage/postgres/server_errors.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/name_text.h"

namespace backup::storage::postgres {
namespace {

struct Row {
  absl::string_view prefix;  // Of the SQLSTATE.
  Reason reason;
  Remedy remedy;
};

// Appendix A of PostgreSQL's manual, "PostgreSQL Error Codes"; the first row that fits counts. What
// is in none is STORAGE_IO.
constexpr Row kRows[] = {
    {"40001", Reason::kBackendDown, Remedy::kRunAgain},    // serialization_failure
    {"40P01", Reason::kBackendDown, Remedy::kRunAgain},    // deadlock_detected
    {"55P03", Reason::kBackendDown, Remedy::kRunAgain},    // lock_not_available: lock_timeout
    {"53100", Reason::kStorageFull, Remedy::kNone},        // disk_full
    {"53", Reason::kBackendDown, Remedy::kNone},           // insufficient_resources
    {"57014", Reason::kBackendDown, Remedy::kNone},        // query_canceled
    {"57", Reason::kBackendDown, Remedy::kReconnect},      // 57P01 to 57P05: the server ends
    {"08", Reason::kBackendDown, Remedy::kReconnect},      // connection_exception
    {"25006", Reason::kBackendDown, Remedy::kReconnect},   // read_only_sql_transaction: it moved
    {"25P03", Reason::kBackendDown, Remedy::kReconnect},   // idle_in_transaction_session_timeout
    {"25P04", Reason::kBackendDown, Remedy::kReconnect},   // transaction_timeout
    {"42501", Reason::kStorageIo, Remedy::kGrant},         // insufficient_privilege
    {"XX001", Reason::kStateCorrupt, Remedy::kNone},       // data_corrupted
    {"XX002", Reason::kStateCorrupt, Remedy::kNone},       // index_corrupted
    {"42P01", Reason::kStateCorrupt, Remedy::kReconnect},  // undefined_table
    {"42703", Reason::kStateCorrupt, Remedy::kReconnect},  // undefined_column
    {"42883", Reason::kStateCorrupt, Remedy::kReconnect},  // undefined_function
};

// Its lines in one: the server's texts may quote what is in the database, libpq's have a line for
// each host.
std::string OneLine(absl::string_view message) {
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(message, '\n', absl::SkipWhitespace()))
    lines.push_back(NameToText(std::string(absl::StripAsciiWhitespace(line))));
  return absl::StrJoin(lines, "; ");
}

std::string AdviceFor(Reason reason) {
  switch (reason) {
    case Reason::kStorageFull:
      return "the catalog's server has no disk space left: free some and try again: ";
    case Reason::kStateCorrupt:
      return "the catalog's database is damaged: restore it from a backup: ";
    case Reason::kBackendDown:
      return "the catalog's server cannot do it now; try again: ";
    default:
      return "the catalog's server failed: ";
  }
}

}  // namespace

ServerError ServerErrorOf(absl::string_view sql_state, absl::string_view message) {
  Row found = {"", Reason::kStorageIo, Remedy::kNone};
  for (const Row& row : kRows) {
    if (!absl::StartsWith(sql_state, row.prefix)) continue;
    found = row;
    break;
  }
  return {MakeError(found.reason,
                    absl::StrCat(AdviceFor(found.reason), OneLine(message), " (", sql_state, ")"),
                    "catalog"),
          found.remedy};
}

absl::Status ConnectionLost(absl::string_view why) {
  return MakeError(Reason::kBackendDown,
                   absl::StrCat("no connection to the catalog's server; try again: ", OneLine(why)),
                   "catalog");
}

absl::Status ConnectionRefused(absl::string_view message) {
  // There is no SQLSTATE of a connection that failed: these are the server's words, and libpq's.
  for (const absl::string_view sign :
       {"authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist",
        "permission denied for database", "certificate", "does not support SSL",
        "is not permitted to log in", "definition of service", "service file"}) {
    if (absl::StrContains(message, sign)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the catalog's server refuses the connection: ", OneLine(message)));
    }
  }
  return ConnectionLost(message);
}

}  // namespace backup::storage::postgres

#include "storage/sqlite/compaction.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "storage/sqlite/write_queue.h"

namespace backup::storage {
namespace {

// Pages without content that a catalog keeps for what comes next: so many, and this part of all.
constexpr int64_t kKeptPages = 1024;
constexpr int64_t kKeptPart = 8;
// How long one transaction goes on with it.
constexpr std::chrono::milliseconds kStepTime(10);
// A log that small does not matter: it would have to grow again at once.
constexpr int64_t kSmallLogBytes = 256 << 10;
constexpr int64_t kPageBytes = 4096;

absl::StatusOr<int64_t> ReadNumber(Database& database, const char* pragma) {
  Query query = database.Prepare(pragma);
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

}  // namespace

absl::StatusOr<Catalog::Compacted> VacuumSome(Database& database, Compacting how) {
  ASSIGN_OR_RETURN(const int64_t pages, ReadNumber(database, "PRAGMA page_count"));
  ASSIGN_OR_RETURN(const int64_t unused, ReadNumber(database, "PRAGMA freelist_count"));
  const int64_t kept = how == Compacting::kAll ? 0 : std::max(kKeptPages, pages / kKeptPart);
  const auto end = std::chrono::steady_clock::now() + kStepTime;
  int64_t left = unused;
  while (left > kept && std::chrono::steady_clock::now() < end) {
    RETURN_IF_ERROR(database.Execute("PRAGMA incremental_vacuum(16)"));
    const int64_t before = left;
    ASSIGN_OR_RETURN(left, ReadNumber(database, "PRAGMA freelist_count"));
    if (left == before) return Catalog::Compacted();
  }
  return Catalog::Compacted{unused - left, left <= kept};
}

absl::Status CutOffLog(Database& database, const std::string& log_path) {
  std::error_code error;
  const auto log_bytes = static_cast<int64_t>(std::filesystem::file_size(log_path, error));
  const bool is_small = error || log_bytes < kSmallLogBytes;
  // Also a small one is copied: only then the database becomes smaller.
  ASSIGN_OR_RETURN(const Database::LogState log,
                   database.Checkpoint(is_small ? Database::Checkpointing::kCopy
                                                : Database::Checkpointing::kTruncate));
  // Our own readers come and go.
  if (log.copied == log.pages || log.pages * kPageBytes <= 2 * WriteQueue::kMaxLogBytes)
    return absl::OkStatus();
  return MakeError(Reason::kBackendDown,
                   absl::StrCat("the catalog's log of ", log.pages * kPageBytes,
                                " bytes cannot be emptied: end the program that reads an old state "
                                "of the catalog (a sqlite3 shell?)"));
}

}  // namespace backup::storage

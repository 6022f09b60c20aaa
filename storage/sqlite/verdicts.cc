#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

absl::StatusOr<std::optional<SqliteTransaction::Found>> SqliteTransaction::VersionOfUpload(
    const Verdict& verdict) {
  ASSIGN_OR_RETURN(const std::optional<Version> version,
                   FindUpload(verdict.client, *verdict.upload));
  const bool is_left = version && version->file_name == verdict.file_name &&
                       version->state != VersionState::kAbandoned;
  if (is_left) return Found{version->version_id, version->state, version->checksum_kind};
  if (verdict.outcome == Outcome::kVerified) return UploadNotFound(verdict.file_name);
  return std::nullopt;
}

absl::StatusOr<std::optional<SqliteTransaction::Found>> SqliteTransaction::LastVersion(
    const Verdict& verdict) {
  // The version is NULL if it is gone, or in the trash: its file may be there all the same.
  Query query = database_.Prepare(
      "SELECT v.version_id, v.state, v.checksum_kind FROM files f "
      "LEFT JOIN versions v ON v.version_id = f.last_version_id AND v.delete_time IS NULL "
      "WHERE f.client_id = ? AND f.name = ? AND f.version_count > 0");
  ASSIGN_OR_RETURN(const bool found,
                   query.BindBlob(verdict.client.bytes()).BindBlob(verdict.file_name).Step());
  if (!found && verdict.outcome == Outcome::kVerified) return FileNotFound(verdict.file_name);
  if (!found || query.IsNull(0)) return std::nullopt;
  return Found{query.Int(0), static_cast<VersionState>(query.Int(1)),
               static_cast<ChecksumKind>(query.Int(2))};
}

absl::Status SqliteTransaction::ApplyOutcome(int64_t version_id, Outcome outcome, absl::Time now) {
  switch (outcome) {
    case Outcome::kVerified:
      return database_
          .Prepare("UPDATE versions SET state = 2, verify_time = ? WHERE version_id = ?")
          .Bind(absl::ToUnixMicros(now))
          .Bind(version_id)
          .Run();
    case Outcome::kRetrying:
      return database_.Prepare("DELETE FROM versions WHERE version_id = ?").Bind(version_id).Run();
    case Outcome::kAbandoned:
      RETURN_IF_ERROR(
          database_
              .Prepare("UPDATE versions SET state = 3, blob_id = NULL, blob_size = 0, "
                       "chunk_no = NULL, recipe_id = NULL, kept_bytes = 0 WHERE version_id = ?")
              .Bind(version_id)
              .Run());
      for (const char* const forget : {"DELETE FROM inline_contents WHERE version_id = ?",
                                       "DELETE FROM damaged_versions WHERE version_id = ?"}) {
        RETURN_IF_ERROR(database_.Prepare(forget).Bind(version_id).Run());
      }
      return absl::OkStatus();
  }
  return absl::InternalError("unknown outcome");
}

absl::StatusOr<bool> SqliteTransaction::SettleVersion(const Verdict& verdict, absl::Time now) {
  ASSIGN_OR_RETURN(Client owner, SelectClient(database_, verdict.client));
  ASSIGN_OR_RETURN(const std::optional<Found> version,
                   verdict.upload ? VersionOfUpload(verdict) : LastVersion(verdict));
  const bool changes = version && version->state == VersionState::kReceived;
  RETURN_IF_ERROR(SetSeen(database_, owner, now));
  if (changes) {
    RETURN_IF_ERROR(ApplyOutcome(version->version_id, verdict.outcome, now));
    if (verdict.learning == Learning::kOn)
      owner.legacy.Learn(verdict.outcome, version->checksum_kind);
    if (verdict.outcome == Outcome::kRetrying) ++owner.resends;
  }
  std::optional<absl::Time> verified;
  if (changes && verdict.outcome == Outcome::kVerified)
    verified = LaterContact(owner.last_verified_time.value_or(now), now);
  RETURN_IF_ERROR(UpdateClient(database_, owner, verified));
  return changes;
}

}  // namespace backup::storage

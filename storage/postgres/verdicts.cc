#include "base/error.h"
#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

// Of the version that a verdict is about: its row, if it is left, and whether its file is there.
#define VERDICT_COLUMNS "v.version_id, v.state, v.checksum_kind, v.size_bytes"

namespace backup::storage::postgres {

absl::Status PostgresTransaction::ApplyOutcome(const Found& version, Outcome outcome,
                                               absl::Time now) {
  switch (outcome) {
    case Outcome::kVerified:
      totals().Add(Total::kVerifiedVersions, 1);
      return connection_
          .Prepare("UPDATE versions SET state = 2, verify_time = $1 WHERE version_id = $2")
          .Bind(absl::ToUnixMicros(now))
          .Bind(version.version_id)
          .Run();
    case Outcome::kRetrying:
      return connection_.Prepare("DELETE FROM versions WHERE version_id = $1")
          .Bind(version.version_id)
          .Run();
    case Outcome::kAbandoned:
      for (const char* const change :
           {"UPDATE versions SET state = 3, blob_id = NULL, blob_size = 0, chunk_no = NULL, "
            "recipe_id = NULL, kept_bytes = 0 WHERE version_id = $1",
            "DELETE FROM inline_contents WHERE version_id = $1",
            "DELETE FROM damaged_versions WHERE version_id = $1"}) {
        RETURN_IF_ERROR(connection_.Prepare(change).Bind(version.version_id).Run());
      }
      return absl::OkStatus();
  }
  return absl::InternalError("unknown outcome");
}

absl::StatusOr<bool> PostgresTransaction::SettleVersion(const Verdict& verdict, absl::Time now) {
  Query locked = connection_.Prepare("SELECT " CLIENT_COLUMNS
                                     " FROM clients c WHERE c.client_id = $1 AND c.delete_time IS "
                                     "NULL FOR NO KEY UPDATE OF c");
  locked.BindBlob(verdict.client.bytes()).Start();
  // Without an upload the version is NULL if it is gone, or in the trash: its file may be there all
  // the same.
  Query query = connection_.Prepare(
      verdict.upload
          ? "SELECT " VERDICT_COLUMNS
            ", f.name FROM versions v JOIN files f USING (file_id) WHERE v.upload_id = $1 AND "
            "f.client_id = $2 AND v.delete_time IS NULL ORDER BY v.version_id DESC LIMIT 1"
          : "SELECT " VERDICT_COLUMNS
            ", f.name FROM files f LEFT JOIN versions v ON v.version_id = f.last_version_id AND "
            "v.delete_time IS NULL WHERE f.name = $1 AND f.client_id = $2 AND f.version_count > 0");
  query.BindBlob(verdict.upload ? verdict.upload->bytes() : verdict.file_name)
      .BindBlob(verdict.client.bytes())
      .Start();
  ASSIGN_OR_RETURN(const bool has_client, locked.Step());
  if (!has_client) return ClientNotFound(verdict.client);
  Client owner = ReadClient(locked);
  ASSIGN_OR_RETURN(bool found, query.Step());
  if (verdict.upload) {
    found = found && query.Blob(4) == verdict.file_name &&
            static_cast<VersionState>(query.Int(1)) != VersionState::kAbandoned;
  }
  if (!found && verdict.outcome == Outcome::kVerified)
    return verdict.upload ? UploadNotFound(verdict.file_name) : FileNotFound(verdict.file_name);
  Found version;
  version.state = VersionState::kAbandoned;
  if (found && !query.IsNull(0)) {
    version = {query.Int(0), query.Int(3), static_cast<VersionState>(query.Int(1)),
               static_cast<ChecksumKind>(query.Int(2))};
  }
  const bool changes = version.state == VersionState::kReceived;
  RETURN_IF_ERROR(SetSeen(owner, now));
  ClientChange change;
  if (changes) {
    RETURN_IF_ERROR(ApplyOutcome(version, verdict.outcome, now));
    if (verdict.learning == Learning::kOn)
      owner.legacy.Learn(verdict.outcome, version.checksum_kind);
    if (verdict.outcome == Outcome::kRetrying) ++owner.resends;
    if (verdict.outcome == Outcome::kVerified) {
      change.verified = LaterContact(owner.last_verified_time.value_or(now), now);
      change.verified_versions = 1;
    }
  }
  RETURN_IF_ERROR(UpdateClient(owner, change));
  return changes;
}

}  // namespace backup::storage::postgres

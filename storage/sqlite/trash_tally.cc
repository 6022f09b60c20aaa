#include "storage/sqlite/trash_tally.h"

#include "base/status_macros.h"

namespace backup::storage {

absl::Status TrashTally::Trash(const CountedVersion& version) {
  RETURN_IF_ERROR(
      database_
          .Prepare("UPDATE versions SET delete_time = ?, tally = 1 - tally WHERE version_id = ?")
          .Bind(absl::ToUnixMicros(delete_time_))
          .Bind(version.version_id)
          .Run());
  ++versions_of_files_[version.file_id];
  ClientChange& client = clients_[version.client_id];
  const bool is_abandoned = version.state == VersionState::kAbandoned;
  ++client.versions;
  client.verified_versions += version.state == VersionState::kVerified;
  client.abandoned_versions += is_abandoned;
  if (!is_abandoned) client.stored_bytes += version.size_bytes;
  if (!is_abandoned) client.kept_bytes += version.kept_bytes;
  return absl::OkStatus();
}

absl::Status TrashTally::Count() {
  RETURN_IF_ERROR(CountFiles());
  return CountClients();
}

absl::Status TrashTally::CountFiles() {
  for (const auto& [file_id, versions] : versions_of_files_) {
    RETURN_IF_ERROR(
        database_.Prepare("UPDATE files SET version_count = version_count - ? WHERE file_id = ?")
            .Bind(versions)
            .Bind(file_id)
            .Run());
  }
  versions_of_files_.clear();
  return absl::OkStatus();
}

// As the trigger version_changed does it (schema.cc).
absl::Status TrashTally::CountClients() {
  for (const auto& [client_id, change] : clients_) {
    RETURN_IF_ERROR(
        database_
            .Prepare("UPDATE clients SET version_count = version_count - ?1, "
                     "trash_versions = trash_versions + ?1, "
                     "verified_versions = verified_versions - ?2, "
                     "abandoned_versions = abandoned_versions - ?3, "
                     "stored_bytes = stored_bytes - ?4, trash_bytes = trash_bytes + ?4, "
                     "kept_bytes = kept_bytes - ?5 WHERE client_id = ?6")
            .Bind(change.versions)
            .Bind(change.verified_versions)
            .Bind(change.abandoned_versions)
            .Bind(change.stored_bytes)
            .Bind(change.kept_bytes)
            .BindBlob(client_id)
            .Run());
  }
  clients_.clear();
  return absl::OkStatus();
}

}  // namespace backup::storage

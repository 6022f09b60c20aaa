#include "services/backup/handlers/delete_file.h"

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {
namespace {

// At most kMaxDeletedVersions below `before` (0: all); none if the file has none left.
absl::StatusOr<std::vector<int64_t>> NextVersions(storage::Catalog& catalog, const ClientId& client,
                                                  const std::string& file_name, int64_t before) {
  const absl::StatusOr<std::vector<storage::Version>> versions =
      catalog.Read([&](storage::Snapshot& snapshot) {
        return snapshot.ListVersions(client, file_name, before,
                                     storage::Transaction::kMaxDeletedVersions);
      });
  // With its last version.
  if (before != 0 && ReasonOf(versions.status()) == Reason::kFileNotFound)
    return std::vector<int64_t>();
  if (!versions.ok()) return versions.status();
  std::vector<int64_t> ids;
  for (const storage::Version& version : *versions) ids.push_back(version.version_id);
  return ids;
}

// Reason RETAINED if one of its versions must be kept for longer: then all of them stay.
absl::Status CheckFile(storage::Snapshot& snapshot, const ClientId& client,
                       const std::string& file_name, absl::Time now) {
  ASSIGN_OR_RETURN(const std::optional<absl::Time> retain_until,
                   snapshot.FileRetainedUntil(client, file_name));
  ASSIGN_OR_RETURN(const std::optional<storage::ClockNote> noted, snapshot.FindClockNote());
  const bool is_trusted = !noted || !noted->distrusted_since;
  return storage::CheckRemovable(retain_until, is_trusted ? now : absl::InfinitePast(),
                                 NameToText(file_name));
}

}  // namespace

absl::StatusOr<v1::DeleteFileResponse> DeleteFile(storage::Catalog& catalog, const Clock& clock,
                                                  const TrashPolicy& policy,
                                                  const v1::DeleteFileRequest& request) {
  ASSIGN_OR_RETURN(const ClientId client, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  const storage::Deletion deletion = DeletionNow(clock, policy);
  // All or nothing: else what is left would look as if it had been overlooked.
  RETURN_IF_ERROR(catalog.Read([&](storage::Snapshot& snapshot) {
    return CheckFile(snapshot, client, name, deletion.time);
  }));
  v1::DeleteFileResponse response;
  int64_t before = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> ids, NextVersions(catalog, client, name, before));
    if (ids.empty()) break;
    ASSIGN_OR_RETURN(const int64_t deleted, catalog.Run([&](storage::Transaction& transaction) {
      return transaction.DeleteVersions(ids, deletion);
    }));
    response.set_version_count(response.version_count() + deleted);
    before = ids.back();
  }
  if (response.version_count() > 0) SetPurgeTime(deletion, policy, response);
  return response;
}

}  // namespace backup::handlers

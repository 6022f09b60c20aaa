#include "services/backup/handlers/undelete_version.h"

#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/quotas.h"

namespace backup::handlers {

absl::StatusOr<v1::UndeleteVersionResponse> UndeleteVersion(
    storage::Catalog& catalog, const v1::UndeleteVersionRequest& request) {
  ASSIGN_OR_RETURN(const ClientId client, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(const int64_t id, ParseVersionId(request.version_id()));
  ASSIGN_OR_RETURN(
      storage::Version version,
      catalog.Run([&](storage::Transaction& transaction) -> absl::StatusOr<storage::Version> {
        ASSIGN_OR_RETURN(const std::vector<storage::QuotaUse> quotas,
                         transaction.ListQuotasFor(client, name));
        ASSIGN_OR_RETURN(storage::Version undeleted, transaction.UndeleteVersion(client, name, id));
        RETURN_IF_ERROR(CheckGrowth(transaction, quotas, client, name));
        return undeleted;
      }));
  // A transaction does not tell whether a recipe has a damaged chunk.
  absl::StatusOr<storage::StoredVersion> now = catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.FindVersion(client, name, id, /*with_content=*/false);
  });
  if (now.ok()) version = std::move(now->version);
  if (!now.ok() && !absl::IsNotFound(now.status())) return now.status();  // Not deleted again.
  v1::UndeleteVersionResponse response;
  *response.mutable_version() = ToProto(version);
  return response;
}

}  // namespace backup::handlers

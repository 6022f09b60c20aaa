#include "services/backup/handlers/get_version.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<v1::GetVersionResponse> GetVersion(storage::Snapshot& snapshot,
                                                  const v1::GetVersionRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(const storage::StoredVersion stored,
                   snapshot.FindVersion(id, name, request.version_id(), /*with_content=*/false));
  v1::GetVersionResponse response;
  *response.mutable_version() = ToProto(stored.version);
  return response;
}

}  // namespace backup::handlers

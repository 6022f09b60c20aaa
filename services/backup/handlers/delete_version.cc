#include "services/backup/handlers/delete_version.h"

#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<DeleteVersion> DeleteVersion::Prepare(const v1::DeleteVersionRequest& request) {
  DeleteVersion handler;
  ASSIGN_OR_RETURN(handler.client_, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(handler.file_name_, ParseName("file_name", request.file_name()));
  if (request.version_id() <= 0) {
    return MakeError(Reason::kInvalidField, "version_id must name one version", "version_id");
  }
  handler.version_id_ = request.version_id();
  return handler;
}

absl::Status DeleteVersion::Apply(storage::Transaction& transaction) {
  return transaction.DeleteVersion(client_, file_name_, version_id_,
                                   {absl::Time(), /*for_good=*/true});
}

}  // namespace backup::handlers

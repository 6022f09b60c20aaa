#include "services/backup/handlers/delete_version.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<DeleteVersion> DeleteVersion::Prepare(const Clock& clock, const TrashPolicy& policy,
                                                     const v1::DeleteVersionRequest& request) {
  DeleteVersion handler;
  ASSIGN_OR_RETURN(handler.client_, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(handler.file_name_, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(handler.version_id_, ParseVersionId(request.version_id()));
  handler.policy_ = policy;
  handler.deletion_ = DeletionNow(clock, policy);
  return handler;
}

absl::Status DeleteVersion::Apply(storage::Transaction& transaction) {
  return transaction.DeleteVersion(client_, file_name_, version_id_, deletion_);
}

absl::StatusOr<v1::DeleteVersionResponse> DeleteVersion::Respond() const {
  v1::DeleteVersionResponse response;
  SetPurgeTime(deletion_, policy_, response);
  return response;
}

}  // namespace backup::handlers

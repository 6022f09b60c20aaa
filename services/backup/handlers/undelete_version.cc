#include "services/backup/handlers/undelete_version.h"

#include <vector>

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/quotas.h"

namespace backup::handlers {

absl::StatusOr<UndeleteVersion> UndeleteVersion::Prepare(
    const v1::UndeleteVersionRequest& request) {
  UndeleteVersion handler;
  ASSIGN_OR_RETURN(handler.client_, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(handler.file_name_, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(handler.version_id_, ParseVersionId(request.version_id()));
  return handler;
}

absl::Status UndeleteVersion::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(const std::vector<storage::QuotaUse> quotas,
                   transaction.ListQuotasFor(client_, file_name_));
  ASSIGN_OR_RETURN(version_, transaction.UndeleteVersion(client_, file_name_, version_id_));
  return CheckGrowth(transaction, quotas, client_, file_name_);
}

absl::StatusOr<v1::UndeleteVersionResponse> UndeleteVersion::Respond() const {
  v1::UndeleteVersionResponse response;
  *response.mutable_version() = ToProto(version_);
  return response;
}

}  // namespace backup::handlers

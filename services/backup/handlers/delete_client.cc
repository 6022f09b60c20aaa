#include "services/backup/handlers/delete_client.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<DeleteClient> DeleteClient::Prepare(const v1::DeleteClientRequest& request) {
  DeleteClient handler;
  ASSIGN_OR_RETURN(handler.id_, ParseClientId(request.client_id()));
  return handler;
}

absl::Status DeleteClient::Apply(storage::Transaction& transaction) {
  return transaction.DeleteClient(id_);
}

}  // namespace backup::handlers

#include "services/backup/handlers/delete_client.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<v1::DeleteClientResponse> DeleteClient(storage::Catalog& catalog,
                                                      const v1::DeleteClientRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  bool is_gone = false;
  while (!is_gone) {
    ASSIGN_OR_RETURN(is_gone,
                     catalog.Run([&](storage::Transaction& transaction) -> absl::StatusOr<bool> {
                       ASSIGN_OR_RETURN(const int64_t deleted,
                                        transaction.DeleteVersionsOf(id, kDeleteClientStep));
                       if (deleted == kDeleteClientStep) return false;
                       RETURN_IF_ERROR(transaction.DeleteClient(id));
                       return true;
                     }));
  }
  return v1::DeleteClientResponse();
}

}  // namespace backup::handlers

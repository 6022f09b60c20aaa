#include "services/backup/handlers/delete_client.h"

#include "base/clock.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<v1::DeleteClientResponse> DeleteClient(storage::Catalog& catalog,
                                                      const v1::DeleteClientRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  RETURN_IF_ERROR(catalog.Run([&](storage::Transaction& transaction) {
    return transaction.DeleteClient(id, SystemClock().Now());
  }));
  storage::PurgedClient step;
  while (step.is_in_trash) {
    ASSIGN_OR_RETURN(step, catalog.Run([&](storage::Transaction& transaction) {
      return transaction.PurgeClient(id, absl::InfiniteFuture(),
                                     storage::Transaction::kMaxDeletedVersions);
    }));
  }
  return v1::DeleteClientResponse();
}

}  // namespace backup::handlers

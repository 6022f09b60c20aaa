#include "services/backup/handlers/delete_client.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {
namespace {

// Of a client that is in the trash, since whenever.
absl::Status PurgeAll(storage::Catalog& catalog, const ClientId& id) {
  storage::PurgedClient step;
  do {
    ASSIGN_OR_RETURN(step, catalog.Run([&](storage::Transaction& transaction) {
      return transaction.PurgeClient(id, absl::InfiniteFuture(),
                                     storage::Transaction::kMaxDeletedVersions);
    }));
  } while (!step.is_gone && step.versions > 0);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::DeleteClientResponse> DeleteClient(storage::Catalog& catalog, const Clock& clock,
                                                      const TrashPolicy& policy,
                                                      const v1::DeleteClientRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  const storage::Deletion deletion = DeletionNow(clock, policy);
  RETURN_IF_ERROR(catalog.Run([&](storage::Transaction& transaction) {
    return transaction.DeleteClient(id, deletion.time);
  }));
  if (deletion.for_good) RETURN_IF_ERROR(PurgeAll(catalog, id));
  v1::DeleteClientResponse response;
  SetPurgeTime(deletion, policy, response);
  return response;
}

}  // namespace backup::handlers

#include "services/backup/handlers/get_client.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/quotas.h"

namespace backup::handlers {
namespace {

absl::StatusOr<storage::Client> FindClient(storage::Snapshot& snapshot,
                                           const v1::GetClientRequest& request) {
  if (!request.client_id().empty()) {
    ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
    return snapshot.FindClient(id);
  }
  ASSIGN_OR_RETURN(const std::string name, ParseName("name", request.name()));
  return snapshot.FindClientByName(name);
}

}  // namespace

absl::StatusOr<v1::GetClientResponse> GetClient(storage::Snapshot& snapshot,
                                                const v1::GetClientRequest& request) {
  ASSIGN_OR_RETURN(const storage::Client client, FindClient(snapshot, request));
  v1::GetClientResponse response;
  *response.mutable_client() = ToProto(client);
  ASSIGN_OR_RETURN(const v1::QuotaUse use,
                   FindUse(snapshot, {client.id, storage::QuotaKind::kClient}));
  if (use.has_quota()) *response.mutable_client()->mutable_quota() = use;
  return response;
}

}  // namespace backup::handlers

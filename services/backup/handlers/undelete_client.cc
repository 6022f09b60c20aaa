#include "services/backup/handlers/undelete_client.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<UndeleteClient> UndeleteClient::Prepare(storage::DuplicateNames policy,
                                                       const v1::UndeleteClientRequest& request) {
  UndeleteClient handler;
  if (request.client_id().empty()) {
    RETURN_IF_ERROR(ParseName("name", request.name()).status());
  } else {
    RETURN_IF_ERROR(ParseClientId(request.client_id()).status());
  }
  handler.id_ = request.client_id();
  handler.name_ = request.name();
  handler.policy_ = policy;
  return handler;
}

absl::Status UndeleteClient::Apply(storage::Transaction& transaction) {
  ClientId id;
  if (id_.empty()) {
    ASSIGN_OR_RETURN(const storage::Client client, FindCallerInTrash(transaction, id_, name_));
    id = client.id;
  } else {
    ASSIGN_OR_RETURN(id, ParseClientId(id_));
  }
  ASSIGN_OR_RETURN(client_, transaction.UndeleteClient(id, policy_));
  return absl::OkStatus();
}

absl::StatusOr<v1::UndeleteClientResponse> UndeleteClient::Respond() const {
  v1::UndeleteClientResponse response;
  *response.mutable_client() = ToProto(client_);
  response.set_file_count(client_.file_count);
  response.set_version_count(client_.version_count);
  return response;
}

}  // namespace backup::handlers

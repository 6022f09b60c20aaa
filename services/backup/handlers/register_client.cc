#include "services/backup/handlers/register_client.h"

#include "base/status_macros.h"
#include "crypto/random.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<RegisterClient> RegisterClient::Prepare(const Clock& clock,
                                                       storage::DuplicateNames policy,
                                                       const v1::RegisterClientRequest& request) {
  RegisterClient handler;
  ASSIGN_OR_RETURN(handler.name_, ParseName("name", request.name()));
  handler.new_id_ = crypto::NewClientId();
  handler.policy_ = policy;
  handler.now_ = clock.Now();
  return handler;
}

absl::Status RegisterClient::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(client_, transaction.RegisterClient(name_, new_id_, policy_, now_));
  return absl::OkStatus();
}

absl::StatusOr<v1::RegisterClientResponse> RegisterClient::Respond() const {
  v1::RegisterClientResponse response;
  *response.mutable_client() = ToProto(client_);
  return response;
}

}  // namespace backup::handlers

#include "services/backup/handlers/observe_client.h"

#include <utility>

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<ObserveClient> ObserveClient::Prepare(const Clock& clock,
                                                     const v1::ObserveClientRequest& request) {
  ObserveClient handler;
  ASSIGN_OR_RETURN(handler.id_, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(handler.observed_, ParseLegacyProfile(request.observed(), clock.Now()));
  return handler;
}

absl::Status ObserveClient::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(storage::Client client, transaction.FindClient(id_));
  // As a rule nothing is news, and then there is nothing to write.
  if (storage::LegacyProfile(client.legacy).Merge(observed_)) {
    ASSIGN_OR_RETURN(client, transaction.UpdateLegacyProfile(id_, observed_));
  }
  known_ = std::move(client.legacy);
  return absl::OkStatus();
}

absl::StatusOr<v1::ObserveClientResponse> ObserveClient::Respond() const {
  v1::ObserveClientResponse response;
  *response.mutable_profile() = ToProto(known_);
  return response;
}

}  // namespace backup::handlers

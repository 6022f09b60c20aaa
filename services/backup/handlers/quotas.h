#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/lifecycle.pb.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/quota.h"
#include "storage/catalog/snapshot.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Keeps a quota, unless a hard limit that was higher, or was none, would be less than what is used
// now. Used by one thread at a time.
class SetQuota {
 public:
  // Looks at all that there is for the store's and every client's: no transaction may do that.
  static absl::StatusOr<SetQuota> Prepare(storage::Catalog& catalog,
                                          const v1::SetQuotaRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::SetQuotaResponse> Respond() const { return response_; }

 private:
  storage::Quota quota_;
  storage::Usage used_;  // Unless it is a client's, of which the transaction tells.
  v1::SetQuotaResponse response_;
};

// Forgets one, unless the client uses more than it may then. Used by one thread at a time.
class DeleteQuota {
 public:
  static absl::StatusOr<DeleteQuota> Prepare(const v1::DeleteQuotaRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::DeleteQuotaResponse> Respond() const { return response_; }

 private:
  storage::QuotaScope scope_;
  v1::DeleteQuotaResponse response_;
};

absl::StatusOr<v1::GetQuotaResponse> GetQuota(storage::Snapshot& snapshot,
                                              const v1::GetQuotaRequest& request);
// A page of all quotas.
absl::StatusOr<v1::ListQuotasResponse> ListQuotas(storage::Snapshot& snapshot,
                                                  const v1::ListQuotasRequest& request);

// What somebody is held to and uses; without a quota if there is none. Reason CLIENT_NOT_FOUND.
absl::StatusOr<v1::QuotaUse> FindUse(storage::Snapshot& snapshot, const storage::QuotaScope& scope);

// OK if what came to `file_name` of a client has room: `before` is what ListQuotasFor() told of it
// earlier in this transaction. Reason CLIENT_QUOTA.
absl::Status CheckGrowth(storage::Snapshot& snapshot, const std::vector<storage::QuotaUse>& before,
                         const ClientId& client, const std::string& file_name);

}  // namespace backup::handlers

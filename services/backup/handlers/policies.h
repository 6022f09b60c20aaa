#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/v1/lifecycle.pb.h"
#include "services/backup/retention/evaluation.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/retention.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Keeps a retention policy. Used by one thread at a time.
class SetPolicy {
 public:
  static absl::StatusOr<SetPolicy> Prepare(const v1::SetPolicyRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::SetPolicyResponse> Respond() const { return v1::SetPolicyResponse(); }

 private:
  storage::RetentionPolicy policy_;
};

// Forgets one. Used by one thread at a time.
class DeletePolicy {
 public:
  static absl::StatusOr<DeletePolicy> Prepare(const v1::DeletePolicyRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::DeletePolicyResponse> Respond() const { return v1::DeletePolicyResponse(); }

 private:
  storage::PolicyScope scope_;
};

absl::StatusOr<v1::GetPolicyResponse> GetPolicy(storage::Snapshot& snapshot,
                                                const v1::GetPolicyRequest& request);
// A page of all policies.
absl::StatusOr<v1::ListPoliciesResponse> ListPolicies(storage::Snapshot& snapshot,
                                                      const v1::ListPoliciesRequest& request);

// Gives `send` what would become of each version that is asked for, in parts; an error of it ends
// the preview and is returned.
absl::Status PreviewRetention(
    storage::Catalog& catalog, const retention::Conditions& conditions,
    const v1::PreviewRetentionRequest& request,
    const std::function<absl::Status(const v1::PreviewRetentionResponse&)>& send);

}  // namespace backup::handlers

#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "services/backup/audit/audit_log.h"
#include "storage/catalog/snapshot.h"

namespace backup::handlers {

// A page of the audit log. Reason INVALID_FIELD.
absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(
    storage::Snapshot& snapshot, const v1::ListAuditEntriesRequest& request);

// Verifies the audit log; an error of `report` (the caller is gone) ends that. Reason
// INVALID_FIELD.
absl::Status VerifyAudit(audit::AuditLog& log, const v1::VerifyAuditRequest& request,
                         const std::function<absl::Status(const v1::VerifyAuditResponse&)>& report);

}  // namespace backup::handlers

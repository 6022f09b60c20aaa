#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/v1/admin.pb.h"
#include "base/clock.h"
#include "services/backup/handlers/growth.h"
#include "storage/catalog/snapshot.h"

namespace backup {

// What does not change while the service runs.
struct ServiceInfo {
  absl::Time start_time;
  std::vector<std::string> modes;
  std::string at_rest;
  absl::Duration trash_retention;  // Zero: there is no trash.
};

}  // namespace backup

namespace backup::handlers {

// What is running, how much it keeps, how fast that grows, and what became of its jobs.
// `removal_time` is retention::ClockWatch::RemovalTime().
absl::StatusOr<v1::GetStatusResponse> GetStatus(storage::Snapshot& snapshot, const Clock& clock,
                                                const ServiceInfo& info, const DiskUse& disk,
                                                absl::Time removal_time);

}  // namespace backup::handlers

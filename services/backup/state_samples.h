#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/metrics.h"
#include "services/backup/handlers/growth.h"
#include "services/backup/handlers/key_keeper.h"
#include "storage/catalog/catalog.h"

namespace backup {

struct StateSource {
  storage::Catalog& catalog;
  const std::string data_dir;
  // At most so many clients have series of their own; backup_metrics_dropped_series counts the
  // others.
  const int64_t max_clients;
  const absl::Duration scrub_period;  // Zero: nothing is ever due.
  const handlers::DiskUse disk = handlers::DiskUse();
  const absl::Time removal_time = absl::InfinitePast();  // retention::ClockWatch::RemovalTime().
  bool catalog_check_failed = false;                     // jobs::CatalogCheck::has_failed().
};
// What the state is like at `now`: clients, versions, room, scrubbing.
std::vector<Sample> SampleState(const StateSource& source, absl::Time now);
// What is to be known of the generations of keys.
std::vector<Sample> SampleKeys(const handlers::KeyKeeper& keeper);

}  // namespace backup

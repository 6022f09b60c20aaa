#pragma once

#include "base/bulk_throttle.h"
#include "base/metrics.h"

namespace backup::storage {

// What catalog and blob store count. Default-constructed: nothing. Thread-safe.
struct StorageMetrics {
  StorageMetrics() = default;
  // `metrics` must outlive the use of this.
  explicit StorageMetrics(Metrics& metrics);

  // Of blobs.
  Histogram fsync_duration;         // Of files and folders.
  MetricFamily<Counter> io_errors;  // op: the system call, more or less.
  Gauge temp_bytes;                 // In files that are not blobs yet.
  Gauge reserved_bytes;             // Kept for recovery (SpaceReserve).
  Counter orphans_removed;          // Blobs without a version, and parts of them.
  Counter damaged_chunks;           // Found by whoever reads them.
  // Of the catalog.
  Histogram commit_duration;
  Counter busy;   // Statements that met a lock, which only a second process would hold.
  Gauge writers;  // Connections that may write.
  // Of what both share.
  BulkThrottle::Metrics bulk;
};

}  // namespace backup::storage

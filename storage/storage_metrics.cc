#include "storage/storage_metrics.h"

namespace backup::storage {
namespace {

constexpr MetricName kFsyncDuration{"backup_storage_fsync_duration_seconds",
                                    "How long it took until a blob or folder was on the medium"};
constexpr MetricName kIoErrors{"backup_storage_io_errors_total",
                               "Operations on blobs that failed, by operation"};
constexpr MetricName kTempBytes{"backup_storage_temp_bytes", "Bytes of blobs that are not whole"};
constexpr MetricName kReservedBytes{"backup_storage_reserved_bytes",
                                    "Room that is kept to recover from a full disk"};
constexpr MetricName kOrphansRemoved{"backup_storage_orphans_removed_total",
                                     "Blobs without a version, and parts of blobs, removed"};
constexpr MetricName kDamagedChunks{"backup_damaged_chunks_total",
                                    "Pieces of stored content that were found damaged"};
constexpr MetricName kCommitDuration{"backup_db_commit_duration_seconds",
                                     "How long commits of the catalog took, of many changes each"};
constexpr MetricName kBusy{"backup_db_busy_total", "Statements that met a lock in the catalog"};
constexpr MetricName kWriters{"backup_db_writers", "Connections that write to the catalog: 1"};

}  // namespace

StorageMetrics::StorageMetrics(Metrics& metrics)
    : fsync_duration(metrics.AddHistogram(kFsyncDuration)),
      io_errors(metrics.AddCounters(kIoErrors, {"op"})),
      temp_bytes(metrics.AddGauge(kTempBytes)),
      reserved_bytes(metrics.AddGauge(kReservedBytes)),
      orphans_removed(metrics.AddCounter(kOrphansRemoved)),
      damaged_chunks(metrics.AddCounter(kDamagedChunks)),
      commit_duration(metrics.AddHistogram(kCommitDuration)),
      busy(metrics.AddCounter(kBusy)),
      writers(metrics.AddGauge(kWriters)),
      bulk(metrics) {}

}  // namespace backup::storage

#include "storage/s3/s3_metrics.h"

namespace backup::storage::s3 {
namespace {

constexpr MetricName kTries{"backup_s3_requests_total",
                            "Requests to the object store, each try counted, by what came of it"};
constexpr MetricName kDuration{"backup_s3_operation_duration_seconds",
                               "How long operations of the object store took with all their tries"};
constexpr MetricName kUploadBytes{"backup_s3_upload_bytes",
                                  "Parts of blobs in memory, on their way to the object store"};
constexpr MetricName kReadAheadBytes{"backup_s3_read_ahead_bytes",
                                     "What is read ahead of the object store's blobs"};

}  // namespace

S3Metrics::S3Metrics(Metrics& metrics)
    : tries(metrics.AddCounters(kTries, {"op", "outcome"})),
      duration(metrics.AddHistograms(kDuration, {"op"})),
      upload_bytes(metrics.AddGauge(kUploadBytes)),
      read_ahead_bytes(metrics.AddGauge(kReadAheadBytes)) {}

}  // namespace backup::storage::s3

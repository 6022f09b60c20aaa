#include "services/backup/service_metrics.h"

#include <optional>

#include "base/error.h"

namespace backup {
namespace {

constexpr MetricName kStarted{"grpc_server_call_started_total", "Calls, by method"};
constexpr MetricName kDuration{"grpc_server_call_duration_seconds",
                               "How long calls took, by method and outcome"};
constexpr MetricName kInFlight{"grpc_server_calls_in_flight", "Calls that are being answered"};
constexpr MetricName kReceived{"grpc_server_call_rcvd_total_compressed_message_size_bytes",
                               "Bytes of messages that calls received"};
constexpr MetricName kSent{"grpc_server_call_sent_total_compressed_message_size_bytes",
                           "Bytes of messages that calls sent"};
constexpr MetricName kUploads{
    "backup_uploads_total", "Uploads by what became of them: verified, rejected, aborted, failed"};
constexpr MetricName kUploadsInProgress{"backup_uploads_in_progress", "Uploads under way"};
constexpr MetricName kUploadBytes{"backup_upload_bytes_total", "Bytes of uploads, as sent"};
constexpr MetricName kUploadContents{"backup_upload_content_bytes_total",
                                     "Bytes of uploads, decrypted, by how they are kept"};
constexpr MetricName kUploadStored{"backup_upload_stored_bytes_total",
                                   "What the new ones of those take"};
constexpr MetricName kUploadDuration{"backup_upload_duration_seconds",
                                     "Where the time of uploads that were stored went"};
constexpr MetricName kResends{"backup_resends_total", "Files that clients found damaged"};
constexpr MetricName kCryptoFailures{"backup_crypto_failures_total",
                                     "What could not be decrypted or was no key, by stage"};
constexpr MetricName kRekeys{"backup_rekeys_total",
                             "Clients that came with another key, by result"};
constexpr MetricName kClientsAdopted{"backup_clients_adopted_total",
                                     "Unknown clients that were taken in with their public key"};
constexpr MetricName kClientsReturned{
    "backup_clients_returned_total",
    "Clients that were taken back from the trash because they called again"};
constexpr MetricName kAdmissionRejected{"backup_admission_rejected_total",
                                        "What was turned away because there is too much of it"};
constexpr MetricName kFaultsInjected{"backup_debug_faults_injected_total",
                                     "Wrong checksums answered on purpose"};
// How an upload that was not taken is counted: `rejected` if the caller is to blame.
absl::string_view ResultOf(Reason reason) {
  switch (reason) {
    case Reason::kInvalidField:
    case Reason::kSizeLimit:
    case Reason::kClientNotFound:
    case Reason::kKeyNotSet:
    case Reason::kContentRejected:
    case Reason::kCredentialsMissing:
    case Reason::kRoleDenied:
    case Reason::kClientQuota:
      return "rejected";
    default:
      return "failed";
  }
}

// An upload that was taken is counted when its client says what it makes of it.
void CountUpload(const ServiceMetrics& metrics, const EndedCall& call, absl::string_view source) {
  if (call.outcome.ok()) {
    metrics.upload_bytes.With({source}).Add(static_cast<double>(call.bytes));
    if (call.checksum_is_wrong) metrics.faults_injected.Add();
    return;
  }
  if (call.cancelled) return metrics.uploads.With({source, "aborted", "CANCELLED"}).Add();
  const std::optional<Reason> reason = ReasonOf(call.outcome);
  metrics.uploads.With({source, reason ? ResultOf(*reason) : "failed", OutcomeName(call.outcome)})
      .Add();
}

void CountVerdict(const ServiceMetrics& metrics, absl::string_view verdict,
                  absl::string_view source) {
  if (verdict == "VERIFIED") metrics.uploads.With({source, "verified", "OK"}).Add();
  if (verdict == "ABANDONED") metrics.uploads.With({source, "aborted", "CHECKSUM"}).Add();
  if (verdict == "RETRYING") {
    metrics.uploads.With({source, "rejected", "CHECKSUM"}).Add();
    metrics.resends.Add();
  }
}

// Which step of the cryptography an error comes from; empty if none. Callers are never told.
absl::string_view CryptoStage(absl::string_view rpc, const absl::Status& outcome) {
  const std::optional<Reason> reason = ReasonOf(outcome);
  if (reason == Reason::kContentRejected) return "content";
  if (reason == Reason::kInvalidField && SubjectOf(outcome) == "public_key") return "public_key";
  if (reason == Reason::kBlobDamaged || reason == Reason::kKeyMissing)
    return rpc == "DownloadFile" ? "stored" : "session_key";
  return "";
}

}  // namespace

ServiceMetrics::ServiceMetrics(Metrics& metrics)
    : calls_started(metrics.AddCounters(kStarted, {"grpc_method"})),
      call_duration(metrics.AddHistograms(kDuration, {"grpc_method", "grpc_status"})),
      call_received(metrics.AddHistograms(kReceived, {"grpc_method", "grpc_status"},
                                          Histogram::Unit::kBytes)),
      call_sent(
          metrics.AddHistograms(kSent, {"grpc_method", "grpc_status"}, Histogram::Unit::kBytes)),
      calls_in_flight(metrics.AddGauge(kInFlight)),
      uploads_in_progress(metrics.AddGauge(kUploadsInProgress)),
      upload_duration(metrics.AddHistograms(kUploadDuration, {"phase"})),
      uploads(metrics.AddCounters(kUploads, {"source", "result", "reason"})),
      upload_bytes(metrics.AddCounters(kUploadBytes, {"source"})),
      upload_contents(metrics.AddCounters(kUploadContents, {"kept"})),
      upload_stored(metrics.AddCounter(kUploadStored)),
      resends(metrics.AddCounter(kResends)),
      crypto_failures(metrics.AddCounters(kCryptoFailures, {"stage"})),
      rekeys(metrics.AddCounters(kRekeys, {"result"})),
      clients_adopted(metrics.AddCounter(kClientsAdopted)),
      clients_returned(metrics.AddCounter(kClientsReturned)),
      admission_rejected(metrics.AddCounters(kAdmissionRejected, {"reason"})),
      faults_injected(metrics.AddCounter(kFaultsInjected)) {
  // There from the start: an alert looks at how much they grow, and all that a client sends in vain
  // may come before they are read for the first time.
  for (const absl::string_view source : {"legacy", "grpc"})
    uploads.With({source, "rejected", InfoOf(Reason::kClientQuota).name});
}

absl::string_view OutcomeName(const absl::Status& status) {
  if (status.ok()) return "OK";
  const std::optional<Reason> reason = ReasonOf(status);
  return reason ? InfoOf(*reason).name : "ERROR";
}

void CountCall(const ServiceMetrics& metrics, const EndedCall& call) {
  const absl::string_view status = OutcomeName(call.outcome);
  metrics.call_duration.With({call.rpc, status}).Observe(call.took);
  metrics.call_received.With({call.rpc, status}).ObserveBytes(call.received);
  metrics.call_sent.With({call.rpc, status}).ObserveBytes(call.sent);
  const absl::string_view source = call.from_old_client ? "legacy" : "grpc";
  if (call.rpc == "UploadFile") CountUpload(metrics, call, source);
  if (call.outcome.ok()) return CountVerdict(metrics, call.verdict, source);
  const absl::string_view stage = CryptoStage(call.rpc, call.outcome);
  if (!stage.empty() && !call.cancelled) metrics.crypto_failures.With({stage}).Add();
  const std::optional<Reason> reason = ReasonOf(call.outcome);
  if (reason == Reason::kRekeyRefused) metrics.rekeys.With({"refused"}).Add();
  if (reason == Reason::kOverloaded)
    metrics.admission_rejected.With({SubjectOf(call.outcome)}).Add();
}

}  // namespace backup

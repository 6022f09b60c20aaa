#include "services/backup/service_metrics.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/client_context.h"

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
constexpr MetricName kUploadDuration{"backup_upload_duration_seconds",
                                     "Where the time of uploads that were stored went"};
constexpr MetricName kResends{"backup_resends_total", "Files that clients found damaged"};
constexpr MetricName kCryptoFailures{"backup_crypto_failures_total",
                                     "What could not be decrypted or was no key, by stage"};
constexpr MetricName kRekeys{"backup_rekeys_total",
                             "Clients that came with another key, by result"};
constexpr MetricName kAdmissionRejected{"backup_admission_rejected_total",
                                        "What was turned away because there is too much of it"};
constexpr MetricName kFaultsInjected{"backup_debug_faults_injected_total",
                                     "Wrong checksums answered on purpose"};
constexpr MetricName kLastSuccess{"backup_client_last_success_timestamp_seconds",
                                  "When a file of the client was last verified; 0 if never"};
constexpr MetricName kRegistered{"backup_client_registered_timestamp_seconds",
                                 "When the client registered"};
constexpr MetricName kLastAttempt{"backup_client_last_attempt_timestamp_seconds",
                                  "The client's last request"};
constexpr MetricName kClientBytes{"backup_client_bytes",
                                  "Plaintext bytes of the client's versions"};
constexpr MetricName kClientResends{"backup_client_resends_total",
                                    "Files that the client found damaged, ever"};
constexpr MetricName kStale{"backup_clients_stale",
                            "Clients without a verified file for longer than the threshold"};
constexpr MetricName kDropped{"backup_metrics_dropped_series",
                              "Clients without series of their own (--metrics_max_clients)"};
constexpr MetricName kStateUp{"backup_db_up", "1 if the catalog can be read"};
constexpr MetricName kClients{"backup_clients", "Known clients"};
constexpr MetricName kVersions{"backup_versions", "Versions, by state"};
constexpr MetricName kStored{"backup_stored_bytes", "Plaintext of all versions, and disk used"};
constexpr MetricName kFree{"backup_storage_free_bytes", "Room left where the data is"};
constexpr MetricName kReadOnly{"backup_storage_read_only",
                               "1 if the file system is mounted read-only"};
constexpr MetricName kCatalogSize{"backup_db_size_bytes", "Size of the catalog"};
constexpr MetricName kWalSize{"backup_db_wal_bytes", "Size of the catalog's log"};

constexpr std::pair<const char*, absl::Duration> kStaleThresholds[] = {{"36h", absl::Hours(36)},
                                                                       {"168h", absl::Hours(168)}};
constexpr int kPageSize = 1000;
constexpr int64_t kLeastFreeBytes = int64_t{64} << 20;
constexpr std::chrono::seconds kProbeDeadline(5);

void SampleClients(storage::Catalog& catalog, int64_t max_clients, int64_t clients,
                   std::vector<Sample>& samples) {
  int64_t shown = 0;
  ClientId after;
  while (shown < max_clients) {
    const int limit = static_cast<int>(std::min<int64_t>(kPageSize, max_clients - shown));
    const auto page = catalog.ListClients(after, limit);
    if (!page.ok() || page->empty()) break;
    for (const storage::Client& client : *page) {
      const Labels labels = {{"client", ToUuid(client.id)}};
      const auto verified = client.last_verified_time;
      samples.push_back({kLastSuccess, labels, verified ? SecondsSinceEpoch(*verified) : 0});
      samples.push_back({kRegistered, labels, SecondsSinceEpoch(client.create_time)});
      samples.push_back({kLastAttempt, labels, SecondsSinceEpoch(client.last_seen_time)});
      samples.push_back({kClientBytes, labels, static_cast<double>(client.stored_bytes)});
      samples.push_back(
          {kClientResends, labels, static_cast<double>(client.resends), Sample::Kind::kCounter});
    }
    shown += std::ssize(*page);
    after = page->back().id;
  }
  samples.push_back({kDropped, {}, static_cast<double>(std::max<int64_t>(clients - shown, 0))});
}

double FileSize(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<double>(size);
}

struct FileSystem {
  int64_t free_bytes = 0;
  bool read_only = false;
};

absl::StatusOr<FileSystem> LookAt(const std::string& data_dir) {
  struct statvfs info = {};
  if (::statvfs(data_dir.c_str(), &info) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", data_dir));
  return FileSystem{static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize),
                    (info.f_flag & ST_RDONLY) != 0};
}

absl::Status ProbeFile(const std::string& data_dir) {
  const std::string path = absl::StrCat(data_dir, "/probe");
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const bool written =
      file.valid() && ::write(file.get(), "probe\n", 6) == 6 && ::fsync(file.get()) == 0;
  if (!written) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  ::unlink(path.c_str());
  return absl::OkStatus();
}

absl::Status ProbeSpace(const std::string& data_dir) {
  const absl::StatusOr<FileSystem> found = LookAt(data_dir);
  if (!found.ok()) return found.status();
  if (found->free_bytes >= kLeastFreeBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("only ", found->free_bytes, " bytes are free"));
}

absl::Status ProbeSelf(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kProbeDeadline);
  context.set_wait_for_ready(true);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, {}, &response);
  if (!status.ok()) return absl::UnavailableError(status.error_message());
  return response.status() == grpc::health::v1::HealthCheckResponse::SERVING
             ? absl::OkStatus()
             : absl::UnavailableError("not serving");
}

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
  if (reason == Reason::kBlobDamaged) return rpc == "DownloadFile" ? "stored" : "session_key";
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
      resends(metrics.AddCounter(kResends)),
      crypto_failures(metrics.AddCounters(kCryptoFailures, {"stage"})),
      rekeys(metrics.AddCounters(kRekeys, {"result"})),
      admission_rejected(metrics.AddCounters(kAdmissionRejected, {"reason"})),
      faults_injected(metrics.AddCounter(kFaultsInjected)) {}

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

std::vector<Sample> SampleState(const StateSource& source, absl::Time now) {
  std::vector<Sample> samples;
  const auto add = [&](const MetricName& name, const Labels& labels, double value) {
    samples.push_back({name, labels, value});
  };
  const absl::StatusOr<storage::Counts> counts = source.catalog.Count();
  add(kStateUp, {}, counts.ok() ? 1 : 0);
  const double catalog_size = FileSize(absl::StrCat(source.data_dir, "/catalog.db"));
  add(kCatalogSize, {}, catalog_size);
  add(kWalSize, {}, FileSize(absl::StrCat(source.data_dir, "/catalog.db-wal")));
  add(kStored, {{"kind", "physical"}}, static_cast<double>(source.blob_bytes) + catalog_size);
  if (counts.ok()) {
    const int64_t settled = counts->verified_versions + counts->abandoned_versions;
    add(kClients, {}, static_cast<double>(counts->clients));
    add(kVersions, {{"state", "received"}}, static_cast<double>(counts->versions - settled));
    add(kVersions, {{"state", "verified"}}, static_cast<double>(counts->verified_versions));
    add(kVersions, {{"state", "abandoned"}}, static_cast<double>(counts->abandoned_versions));
    add(kStored, {{"kind", "logical"}}, static_cast<double>(counts->stored_bytes));
    SampleClients(source.catalog, source.max_clients, counts->clients, samples);
  }
  for (const auto& [threshold, age] : kStaleThresholds) {
    const absl::StatusOr<int64_t> stale = source.catalog.CountStaleClients(now - age);
    if (stale.ok()) add(kStale, {{"threshold", threshold}}, static_cast<double>(*stale));
  }
  if (const absl::StatusOr<FileSystem> found = LookAt(source.data_dir); found.ok()) {
    add(kFree, {}, static_cast<double>(found->free_bytes));
    add(kReadOnly, {}, found->read_only ? 1 : 0);
  }
  return samples;
}

std::vector<Probe> ServiceProbes(storage::Catalog& catalog, const std::string& data_dir,
                                 std::shared_ptr<grpc::Channel> channel) {
  return {{"catalog", [&catalog] { return catalog.ProbeWrite(); }},
          {"files", [data_dir] { return ProbeFile(data_dir); }},
          {"space", [data_dir] { return ProbeSpace(data_dir); }},
          {"self", [channel = std::move(channel)] { return ProbeSelf(channel); }}};
}

}  // namespace backup

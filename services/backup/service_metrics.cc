#include "services/backup/service_metrics.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/client_context.h"

namespace backup {
namespace {

constexpr MetricName kStarted{"grpc_server_call_started_total", "Calls, by method"};
constexpr MetricName kDuration{"grpc_server_call_duration_seconds",
                               "How long calls took, by method and outcome"};
constexpr MetricName kUploads{"backup_uploads_total",
                              "Uploads by result: received, verified, resent, abandoned, failed"};
constexpr MetricName kUploadBytes{"backup_upload_bytes_total", "Bytes of uploads, as sent"};
constexpr MetricName kResends{"backup_resends_total", "Files that clients found damaged"};
constexpr MetricName kLastSuccess{"backup_client_last_success_timestamp_seconds",
                                  "When a file of the client was last verified; 0 if never"};
constexpr MetricName kRegistered{"backup_client_registered_timestamp_seconds",
                                 "When the client registered"};
constexpr MetricName kLastAttempt{"backup_client_last_attempt_timestamp_seconds",
                                  "The client's last request"};
constexpr MetricName kDropped{"backup_metrics_dropped_series",
                              "Clients without series of their own (--metrics_max_clients)"};
constexpr MetricName kStateUp{"backup_db_up", "1 if the catalog can be read"};
constexpr MetricName kClients{"backup_clients", "Known clients"};
constexpr MetricName kVersions{"backup_versions", "Versions, by state"};
constexpr MetricName kStored{"backup_stored_bytes", "Plaintext bytes of all versions"};
constexpr MetricName kFree{"backup_storage_free_bytes", "Room left where the data is"};
constexpr MetricName kCatalogSize{"backup_db_size_bytes", "Size of the catalog"};
constexpr MetricName kWalSize{"backup_db_wal_bytes", "Size of the catalog's log"};

constexpr int kPageSize = 1000;
constexpr int64_t kLeastFreeBytes = int64_t{64} << 20;
constexpr std::chrono::seconds kProbeDeadline(5);

double Seconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

void SampleClients(storage::Catalog& catalog, int64_t max_clients, int64_t clients,
                   std::vector<GaugeSample>& samples) {
  int64_t shown = 0;
  ClientId after;
  while (shown < max_clients) {
    const int limit = static_cast<int>(std::min<int64_t>(kPageSize, max_clients - shown));
    const auto page = catalog.ListClients(after, limit);
    if (!page.ok() || page->empty()) break;
    for (const storage::Client& client : *page) {
      const Labels labels = {{"client", ToUuid(client.id)}};
      const auto verified = client.last_verified_time;
      samples.push_back({kLastSuccess, labels, verified ? Seconds(*verified) : 0});
      samples.push_back({kRegistered, labels, Seconds(client.create_time)});
      samples.push_back({kLastAttempt, labels, Seconds(client.last_seen_time)});
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

absl::StatusOr<int64_t> FreeBytes(const std::string& data_dir) {
  struct statvfs info = {};
  if (::statvfs(data_dir.c_str(), &info) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", data_dir));
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
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
  const absl::StatusOr<int64_t> free = FreeBytes(data_dir);
  if (!free.ok()) return free.status();
  if (*free >= kLeastFreeBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("only ", *free, " bytes are free"));
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

}  // namespace

void CountCall(Metrics& metrics, const EndedCall& call) {
  const std::string rpc(call.rpc);
  const std::string outcome(call.outcome);
  metrics.Count(kStarted, {{"grpc_method", rpc}});
  metrics.Observe(kDuration, {{"grpc_method", rpc}, {"grpc_status", outcome}}, call.took);
  const auto count_upload = [&](const char* result) {
    metrics.Count(kUploads, {{"result", result}, {"reason", outcome}});
  };
  const bool ok = outcome == "OK";
  if (rpc == "UploadFile") {
    count_upload(ok ? "received" : "failed");
    metrics.Count(kUploadBytes, {}, static_cast<double>(call.bytes));
  }
  if (ok && call.verdict == "VERIFIED") count_upload("verified");
  if (ok && call.verdict == "ABANDONED") count_upload("abandoned");
  if (ok && call.verdict == "RETRYING") {
    count_upload("resent");
    metrics.Count(kResends, {});
  }
}

std::vector<GaugeSample> SampleState(storage::Catalog& catalog, const std::string& data_dir,
                                     int64_t max_clients) {
  std::vector<GaugeSample> samples;
  const absl::StatusOr<storage::Counts> counts = catalog.Count();
  samples.push_back({kStateUp, {}, counts.ok() ? 1.0 : 0.0});
  if (counts.ok()) {
    const auto add = [&](const MetricName& name, const Labels& labels, int64_t value) {
      samples.push_back({name, labels, static_cast<double>(value)});
    };
    add(kClients, {}, counts->clients);
    add(kVersions, {{"state", "verified"}}, counts->verified_versions);
    add(kVersions, {{"state", "other"}}, counts->versions - counts->verified_versions);
    add(kStored, {{"kind", "logical"}}, counts->stored_bytes);
    SampleClients(catalog, max_clients, counts->clients, samples);
  }
  const absl::StatusOr<int64_t> free = FreeBytes(data_dir);
  if (free.ok()) samples.push_back({kFree, {}, static_cast<double>(*free)});
  samples.push_back({kCatalogSize, {}, FileSize(absl::StrCat(data_dir, "/catalog.db"))});
  samples.push_back({kWalSize, {}, FileSize(absl::StrCat(data_dir, "/catalog.db-wal"))});
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

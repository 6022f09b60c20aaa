#include "tests/bench/housekeeping.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "backup/v1/admin.grpc.pb.h"
#include "backup/v1/lifecycle.grpc.pb.h"
#include "base/status_macros.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "legacy_client/key_pair.h"
#include "rpc/deadline.h"
#include "tests/bench/filled_catalog.h"
#include "tests/bench/physical_limits.h"
#include "tests/bench/prepared_file.h"
#include "tests/bench/session_load.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr absl::Duration kDeadline = absl::Minutes(10);
constexpr absl::Duration kPollInterval = absl::Milliseconds(50);
constexpr int64_t kPackSize = 64 << 20;
constexpr int64_t kPayload = 200;           // Of a small file.
constexpr int64_t kLargePayload = 1000;     // So that a catalog is large with few rows.
constexpr int64_t kVersionsStep = 100'000;  // FillWithDailyVersions.
constexpr double kMicroseconds = 1e6;

// Nothing runs by itself but what is measured.
std::vector<std::string> Flags(std::vector<std::string> flags) {
  for (const char* const job :
       {"retain_interval", "purge_interval", "repack_interval", "move_interval", "train_interval",
        "snapshot_interval", "scrub_period"}) {
    const std::string prefix = absl::StrCat("--", job, "=");
    const bool is_given = std::any_of(flags.begin(), flags.end(), [&](const std::string& flag) {
      return flag.starts_with(prefix);
    });
    if (!is_given) flags.push_back(prefix + "0s");
  }
  return flags;
}

// What an operator asks of a service. Used by one thread at a time.
class Operator {
 public:
  explicit Operator(const std::string& address)
      : channel_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())) {}

  absl::StatusOr<v1::GetStatusResponse> Status() {
    return Call<v1::GetStatusResponse>([&](grpc::ClientContext& context, auto& response) {
      return admin_->GetStatus(&context, {}, &response);
    });
  }
  absl::StatusOr<v1::Scrub> Scrub(bool starts) {
    if (starts) {
      ASSIGN_OR_RETURN(const auto started,
                       Call<v1::StartScrubResponse>([&](auto& context, auto& response) {
                         return admin_->StartScrub(&context, {}, &response);
                       }));
      return started.scrub();
    }
    ASSIGN_OR_RETURN(const auto got, Call<v1::GetScrubResponse>([&](auto& context, auto& response) {
                       return admin_->GetScrub(&context, {}, &response);
                     }));
    return got.scrub();
  }
  absl::Status KeepNewestOnly() {
    v1::SetPolicyRequest request;
    request.mutable_policy()->set_keep_last(1);
    return Call<v1::SetPolicyResponse>([&](auto& context, auto& response) {
             return lifecycle_->SetPolicy(&context, request, &response);
           })
        .status();
  }
  // Returns how many versions it told of.
  absl::StatusOr<int64_t> Preview() {
    grpc::ClientContext context;
    context.set_deadline(rpc::DeadlineAfter(kDeadline));
    const auto stream = lifecycle_->PreviewRetention(&context, {});
    v1::PreviewRetentionResponse part;
    int64_t versions = 0;
    while (stream->Read(&part)) versions += part.decisions_size();
    const grpc::Status status = stream->Finish();
    if (!status.ok()) return absl::InternalError(status.error_message());
    return versions;
  }
  absl::Status EmptyTrash() {
    grpc::ClientContext context;
    context.set_deadline(rpc::DeadlineAfter(kDeadline));
    const auto stream = lifecycle_->EmptyTrash(&context, {});
    v1::EmptyTrashResponse progress;
    while (stream->Read(&progress)) {
    }
    const grpc::Status status = stream->Finish();
    return status.ok() ? absl::OkStatus() : absl::InternalError(status.error_message());
  }
  // Until the service ends.
  void BackUpState() {
    grpc::ClientContext context;
    context.set_deadline(rpc::DeadlineAfter(kDeadline));
    v1::BackUpStateResponse response;
    admin_->BackUpState(&context, {}, &response);
  }

 private:
  template <typename Response, typename Ask>
  absl::StatusOr<Response> Call(const Ask& ask) {
    grpc::ClientContext context;
    context.set_deadline(rpc::DeadlineAfter(kDeadline));
    Response response;
    const grpc::Status status = ask(context, response);
    if (!status.ok()) return absl::InternalError(status.error_message());
    return response;
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::AdminService::Stub> admin_ = v1::AdminService::NewStub(channel_);
  const std::unique_ptr<v1::LifecycleService::Stub> lifecycle_ =
      v1::LifecycleService::NewStub(channel_);
};

absl::Status MakeCatalog(const Programs& programs, const std::string& dir, int64_t versions,
                         int64_t payload) {
  {  // The schema is the service's own.
    RETURN_IF_ERROR(RunningService::Start(programs, dir, Flags({})).status());
  }
  return FillWithDailyVersions(absl::StrCat(dir, "/data/catalog.db"), versions, payload);
}

// How fast a number changes while something runs.
struct Rate {
  double per_second = 0;
  double cpu_microseconds = 0;  // For each.
};

// From when `count` begins to change until it is `end`, or for as long as `duration`.
absl::StatusOr<Rate> MeasureRate(const RunningService& service, int64_t end,
                                 absl::Duration duration,
                                 const std::function<absl::StatusOr<int64_t>()>& count) {
  ASSIGN_OR_RETURN(const int64_t first, count());
  const auto start = MonotonicClock::now();
  const double cpu_start = service.process.CpuSeconds();
  int64_t last = first;
  while (last != end && SecondsSince(start) < absl::ToDoubleSeconds(duration)) {
    absl::SleepFor(kPollInterval);
    ASSIGN_OR_RETURN(last, count());
  }
  const auto changed = static_cast<double>(std::max<int64_t>(std::abs(last - first), 1));
  return Rate{changed / SecondsSince(start),
              kMicroseconds * (service.process.CpuSeconds() - cpu_start) / changed};
}

absl::StatusOr<Rate> MeasureTrashing(const Programs& programs, const std::string& dir,
                                     int64_t going, absl::Duration duration) {
  ASSIGN_OR_RETURN(
      const RunningService service,
      RunningService::Start(programs, dir, Flags({"--retain_interval=1h", "--retain_rate=0"})));
  Operator asking(service.address);
  return MeasureRate(service, going, duration, [&]() -> absl::StatusOr<int64_t> {
    ASSIGN_OR_RETURN(const v1::GetStatusResponse status, asking.Status());
    return status.trash_version_count();
  });
}

// All that is in the trash.
absl::StatusOr<Rate> MeasurePurging(const Programs& programs, const std::string& dir) {
  ASSIGN_OR_RETURN(const RunningService service, RunningService::Start(programs, dir, Flags({})));
  Operator asking(service.address);
  ASSIGN_OR_RETURN(const v1::GetStatusResponse before, asking.Status());
  const auto start = MonotonicClock::now();
  const double cpu_start = service.process.CpuSeconds();
  RETURN_IF_ERROR(asking.EmptyTrash());
  const auto purged = static_cast<double>(before.trash_version_count());
  return Rate{purged / SecondsSince(start),
              kMicroseconds * (service.process.CpuSeconds() - cpu_start) / purged};
}

absl::StatusOr<Rate> MeasureRemoving(const Programs& programs, const std::string& dir, int64_t left,
                                     absl::Duration duration) {
  ASSIGN_OR_RETURN(const RunningService service,
                   RunningService::Start(
                       programs, dir,
                       Flags({"--retain_interval=1h", "--retain_rate=0", "--trash_retention=0s"})));
  Operator asking(service.address);
  return MeasureRate(service, left, duration, [&]() -> absl::StatusOr<int64_t> {
    ASSIGN_OR_RETURN(const v1::GetStatusResponse status, asking.Status());
    return status.version_count();
  });
}

absl::Status MeasurePreview(const Programs& programs, const std::string& dir, int64_t versions,
                            RetentionResult& result) {
  ASSIGN_OR_RETURN(const RunningService service, RunningService::Start(programs, dir, Flags({})));
  Operator asking(service.address);
  RETURN_IF_ERROR(asking.KeepNewestOnly());
  RETURN_IF_ERROR(asking.Status().status());
  const double before = service.process.PeakResidentMebibytes();
  const auto start = MonotonicClock::now();
  ASSIGN_OR_RETURN(const int64_t told, asking.Preview());
  result.preview_seconds = SecondsSince(start);
  result.preview_more_mebibytes = service.process.PeakResidentMebibytes() - before;
  return told == versions ? absl::OkStatus()
                          : absl::InternalError("the preview does not tell of all versions");
}

// What becomes of the versions while clients are served.
absl::Status MeasureBeside(const Programs& programs, const std::string& dir, int clients,
                           absl::Duration duration, int runs, RetentionResult& result) {
  std::vector<double> alone;
  std::vector<double> beside;
  std::vector<double> trashed;
  for (int run = 0; run < runs; ++run) {
    for (const bool retains : {false, true}) {
      const std::string interval = absl::StrCat("--retain_interval=", retains ? "1h" : "0s");
      ASSIGN_OR_RETURN(const auto servers,
                       ServerPair::Start(programs, dir, Flags({interval, "--retain_rate=0"})));
      Operator asking(servers->service_address);
      ASSIGN_OR_RETURN(const v1::GetStatusResponse before, asking.Status());
      const auto start = MonotonicClock::now();
      ASSIGN_OR_RETURN(const SessionLoadResult load,
                       MeasureSessionLoad(*servers, clients, duration));
      ASSIGN_OR_RETURN(const v1::GetStatusResponse after, asking.Status());
      (retains ? beside : alone).push_back(load.sessions_per_second);
      if (!retains) continue;
      const int64_t more = after.trash_version_count() - before.trash_version_count();
      trashed.push_back(static_cast<double>(more) / SecondsSince(start));
    }
  }
  result.sessions_alone_per_second = Median(alone);
  result.sessions_beside_per_second = Median(beside);
  result.trashed_beside_per_second = Median(trashed);
  return absl::OkStatus();
}

absl::Status UploadPacks(const ServerPair& servers, int64_t size) {
  const auto key_pair = legacy_client::KeyPair::Generate();
  ASSIGN_OR_RETURN(const KnownClient client,
                   Introduce(servers.bridge_address, "bench scrub", key_pair));
  for (int64_t at = 0; at < size; at += kPackSize) {
    const PreparedFile file(client, absl::StrCat("file ", at), kPackSize);
    RETURN_IF_ERROR(file.Upload(servers.bridge_address));
  }
  return absl::OkStatus();
}

// One whole cycle.
absl::StatusOr<v1::Scrub> ScrubOnce(Operator& asking) {
  ASSIGN_OR_RETURN(v1::Scrub scrub, asking.Scrub(/*starts=*/true));
  const std::string last = scrub.last_end_time().SerializeAsString();
  const auto start = MonotonicClock::now();
  while (scrub.last_end_time().SerializeAsString() == last) {
    if (SecondsSince(start) > absl::ToDoubleSeconds(kDeadline))
      return absl::DeadlineExceededError("a cycle of the job scrub does not come to its end");
    absl::SleepFor(kPollInterval);
    ASSIGN_OR_RETURN(scrub, asking.Scrub(/*starts=*/false));
  }
  return scrub;
}

absl::Duration TimeOf(const google::protobuf::Timestamp& time) {
  return absl::Seconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

}  // namespace

absl::StatusOr<RetentionResult> MeasureRetention(const Programs& programs, const std::string& dir,
                                                 int64_t versions, int clients,
                                                 absl::Duration duration, int runs) {
  RETURN_IF_ERROR(MakeCatalog(programs, dir, versions, kPayload));
  RetentionResult result;
  RETURN_IF_ERROR(MeasurePreview(programs, dir, versions, result));
  RETURN_IF_ERROR(MeasureBeside(programs, dir, clients, duration, runs, result));
  const int64_t going = versions - kVersionsStep;
  ASSIGN_OR_RETURN(const Rate trashed, MeasureTrashing(programs, dir, going, duration));
  result.trashed_per_second = trashed.per_second;
  result.trashed_cpu_microseconds = trashed.cpu_microseconds;
  ASSIGN_OR_RETURN(const Rate removed, MeasureRemoving(programs, dir, kVersionsStep, duration));
  result.removed_per_second = removed.per_second;
  result.removed_cpu_microseconds = removed.cpu_microseconds;
  ASSIGN_OR_RETURN(const Rate purged, MeasurePurging(programs, dir));
  result.purged_per_second = purged.per_second;
  result.purged_cpu_microseconds = purged.cpu_microseconds;
  return result;
}

absl::StatusOr<ScrubResult> MeasureScrub(const Programs& programs, const std::string& dir,
                                         int64_t size, int runs) {
  std::string blobs;
  {
    ASSIGN_OR_RETURN(const auto servers, ServerPair::Start(programs, dir, Flags({})));
    blobs = servers->data_dir + "/store/blobs";
    RETURN_IF_ERROR(UploadPacks(*servers, size));
  }
  ASSIGN_OR_RETURN(const RunningService service,
                   RunningService::Start(programs, dir, Flags({"--scrub_rate=0"})));
  Operator asking(service.address);
  ScrubResult result;
  std::vector<double> reads;
  std::vector<double> cycles;
  double gibibytes = 0;
  const double cpu_start = service.process.CpuSeconds();
  for (int run = 0; run < runs; ++run) {
    ASSIGN_OR_RETURN(const double read, MeasureReading(blobs));
    reads.push_back(read);
    ASSIGN_OR_RETURN(const v1::Scrub scrub, ScrubOnce(asking));
    const auto bytes = static_cast<double>(scrub.last_tally().stored_bytes());
    const absl::Duration took = TimeOf(scrub.last_end_time()) - TimeOf(scrub.last_start_time());
    cycles.push_back(bytes / kBytesPerMegabyte / absl::ToDoubleSeconds(took));
    gibibytes += bytes / kBytesPerGibibyte;
  }
  result.cpu_seconds_per_gibibyte = (service.process.CpuSeconds() - cpu_start) / gibibytes;
  result.mb_per_second = Median(cycles);
  result.read_mb_per_second = Median(reads);
  result.digest_mb_per_second = MeasureDigests();
  return result;
}

absl::StatusOr<SnapshotResult> MeasureSnapshot(const Programs& programs, const std::string& dir,
                                               int64_t size, int clients, absl::Duration duration,
                                               int runs) {
  // A row has about as much again beside its payload, with its indexes.
  const int64_t steps = std::max<int64_t>(size / (kLargePayload + 300) / kVersionsStep, 1);
  RETURN_IF_ERROR(MakeCatalog(programs, dir, steps * kVersionsStep, kLargePayload));
  SnapshotResult result;
  result.catalog_mebibytes =
      static_cast<double>(std::filesystem::file_size(dir + "/data/catalog.db")) / (1 << 20);
  std::vector<double> p99[2];
  std::vector<double> sessions[2];
  for (int run = 0; run < runs; ++run) {
    for (const bool takes : {false, true}) {
      std::jthread snapshot;  // Ends after the servers, with which the snapshot does.
      ASSIGN_OR_RETURN(const auto servers, ServerPair::Start(programs, dir, Flags({})));
      if (takes) {
        snapshot =
            std::jthread([address = servers->service_address] { Operator(address).BackUpState(); });
      }
      ASSIGN_OR_RETURN(const SessionLoadResult load,
                       MeasureSessionLoad(*servers, clients, duration));
      p99[takes ? 1 : 0].push_back(load.p99_milliseconds);
      sessions[takes ? 1 : 0].push_back(load.sessions_per_second);
    }
  }
  result.alone_p99_milliseconds = Median(p99[0]);
  result.beside_p99_milliseconds = Median(p99[1]);
  result.alone_per_second = Median(sessions[0]);
  result.beside_per_second = Median(sessions[1]);
  return result;
}

}  // namespace backup::bench

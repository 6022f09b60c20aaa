#include "tests/bench/housekeeping.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "legacy_client/key_pair.h"
#include "tests/bench/filled_catalog.h"
#include "tests/bench/operator.h"
#include "tests/bench/physical_limits.h"
#include "tests/bench/prepared_file.h"
#include "tests/bench/session_load.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

// Of what is waited for: a cycle of scrub, a job's beginning.
constexpr absl::Duration kDeadline = absl::Minutes(10);
constexpr absl::Duration kPollInterval = absl::Milliseconds(50);
constexpr int64_t kPackSize = 64 << 20;
constexpr int64_t kPayload = 200;           // Of a small file.
constexpr int64_t kLargePayload = 1000;     // So that a catalog is large with few rows:
constexpr int64_t kLargeRow = 1490;         // 600 000 of them take 854 MiB, with indexes.
constexpr int64_t kVersionsStep = 100'000;  // FillWithDailyVersions.
constexpr double kMicroseconds = 1e6;
// Fewer say nothing of how fast it goes.
constexpr int64_t kLeastChanges = 1000;
// The job retain looks so often whether there is something to do.
constexpr char kRetains[] = "--retain_interval=1s";

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

absl::Status MakeCatalog(const Programs& programs, const std::string& dir, int64_t versions,
                         int64_t payload) {
  {  // The schema is the service's own.
    RETURN_IF_ERROR(RunningService::Start(programs, dir, Flags({})).status());
  }
  return FillWithDailyVersions(absl::StrCat(dir, "/data/catalog.db"), versions, payload);
}

// A copy of the service's folder `dir`, as nothing has been done to it, until this ends.
class FreshCopy {
 public:
  explicit FreshCopy(const std::string& dir) : dir_(dir + "/copy") {
    std::filesystem::create_directory(dir_);
    std::filesystem::copy(dir + "/data", dir_ + "/data", std::filesystem::copy_options::recursive);
  }
  FreshCopy(const FreshCopy&) = delete;
  FreshCopy& operator=(const FreshCopy&) = delete;
  ~FreshCopy() { std::filesystem::remove_all(dir_); }

  const std::string& dir() const { return dir_; }

 private:
  const std::string dir_;
};

using Count = std::function<absl::StatusOr<int64_t>()>;

// Until the job has begun.
absl::Status WaitForChange(const Count& count) {
  ASSIGN_OR_RETURN(const int64_t first, count());
  for (absl::Duration waited; waited < kDeadline; waited += kPollInterval) {
    ASSIGN_OR_RETURN(const int64_t now, count());
    if (now != first) return absl::OkStatus();
    absl::SleepFor(kPollInterval);
  }
  return absl::DeadlineExceededError("a job does not begin");
}

// How fast a number changes while something runs.
struct Rate {
  double per_second = 0;
  double cpu_microseconds = 0;  // For each.
};

absl::StatusOr<Rate> ToRate(int64_t changed, double seconds, double cpu_seconds) {
  if (changed < kLeastChanges)
    return absl::InternalError(absl::StrCat("only ", changed, " versions in ", seconds, " s"));
  const auto count = static_cast<double>(changed);
  return Rate{count / seconds, kMicroseconds * cpu_seconds / count};
}

// Of what changes already, for `duration`. An error if `last` is reached: from then on it stands
// still.
absl::StatusOr<Rate> MeasureRate(const ChildProcess& service, const Count& count, int64_t last,
                                 absl::Duration duration) {
  ASSIGN_OR_RETURN(const int64_t before, count());
  const auto start = MonotonicClock::now();
  const double cpu_start = service.CpuSeconds();
  absl::SleepFor(duration);
  ASSIGN_OR_RETURN(const int64_t after, count());
  if (after == last) return absl::InternalError("all is done before it was measured: --seconds");
  return ToRate(std::llabs(after - before), SecondsSince(start), service.CpuSeconds() - cpu_start);
}

v1::RetentionPolicy NewestOnly() {
  v1::RetentionPolicy policy;
  policy.set_keep_last(1);
  return policy;
}

v1::RetentionPolicy ManyRules() {
  v1::RetentionPolicy policy;
  policy.set_keep_last(1);
  policy.set_keep_hourly(24);
  policy.set_keep_daily(3);
  policy.set_keep_weekly(4);
  policy.set_keep_monthly(12);
  policy.set_keep_yearly(2);
  return policy;
}

absl::Status MeasurePreview(const Programs& programs, const std::string& dir, int64_t versions,
                            RetentionResult& result) {
  const FreshCopy copy(dir);
  ASSIGN_OR_RETURN(
      RunningService service,
      RunningService::Start(programs, copy.dir(), Flags({"--timezone=Europe/Berlin"})));
  RETURN_IF_ERROR(WaitForCatalogCheck(copy.dir()));
  Operator asking(service.address);
  RETURN_IF_ERROR(asking.SetPolicy(ManyRules()));
  RETURN_IF_ERROR(service.process.ResetPeakResident());
  const double before = service.process.ResidentMebibytes();
  const auto start = MonotonicClock::now();
  ASSIGN_OR_RETURN(const int64_t told, asking.PreviewRetention());
  result.preview_seconds = SecondsSince(start);
  result.preview_more_mebibytes = service.process.PeakResidentMebibytes() - before;
  return told == versions ? absl::OkStatus()
                          : absl::InternalError("the preview does not tell of all versions");
}

// Of several runs.
struct TrashingRuns {
  std::vector<double> alone;   // Sessions, without retention
  std::vector<double> beside;  // and beside it.
  std::vector<double> trashed_beside;
  std::vector<double> trashed;
  std::vector<double> trashed_cpu;
};

// Sessions, then the same while the job runs, then the job alone; at last, once, what it takes to
// remove for good what it has put into the trash.
absl::Status MeasureTrashing(const Programs& programs, const std::string& dir, int64_t going,
                             int clients, absl::Duration duration, TrashingRuns& runs,
                             Rate* purged) {
  const FreshCopy copy(dir);
  {
    ASSIGN_OR_RETURN(const auto servers,
                     ServerPair::Start(programs, copy.dir(), Flags({kRetains})));
    RETURN_IF_ERROR(WaitForCatalogCheck(copy.dir()));
    Operator asking(servers->service_address);
    const Count count = [&] { return asking.TrashVersionCount(); };
    ASSIGN_OR_RETURN(const SessionLoadResult alone,
                     MeasureSessionLoad(*servers, clients, duration));
    RETURN_IF_ERROR(asking.SetPolicy(NewestOnly()));
    RETURN_IF_ERROR(WaitForChange(count));
    ASSIGN_OR_RETURN(const int64_t before, count());
    const auto start = MonotonicClock::now();
    ASSIGN_OR_RETURN(const SessionLoadResult beside,
                     MeasureSessionLoad(*servers, clients, duration));
    ASSIGN_OR_RETURN(const int64_t after, count());
    ASSIGN_OR_RETURN(const Rate meanwhile, ToRate(after - before, SecondsSince(start), 0));
    ASSIGN_OR_RETURN(const Rate trashed, MeasureRate(servers->service, count, going, duration));
    runs.alone.push_back(alone.sessions_per_second);
    runs.beside.push_back(beside.sessions_per_second);
    runs.trashed_beside.push_back(meanwhile.per_second);
    runs.trashed.push_back(trashed.per_second);
    runs.trashed_cpu.push_back(trashed.cpu_microseconds);
  }
  if (purged == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const RunningService service,
                   RunningService::Start(programs, copy.dir(), Flags({})));
  RETURN_IF_ERROR(WaitForCatalogCheck(copy.dir()));
  Operator asking(service.address);
  ASSIGN_OR_RETURN(const int64_t in_trash, asking.TrashVersionCount());
  const auto start = MonotonicClock::now();
  const double cpu_start = service.process.CpuSeconds();
  RETURN_IF_ERROR(asking.EmptyTrash());
  ASSIGN_OR_RETURN(*purged,
                   ToRate(in_trash, SecondsSince(start), service.process.CpuSeconds() - cpu_start));
  return absl::OkStatus();
}

// As the job does it that keeps no trash.
absl::StatusOr<Rate> MeasureRemoving(const Programs& programs, const std::string& dir,
                                     absl::Duration duration) {
  const FreshCopy copy(dir);
  ASSIGN_OR_RETURN(
      const RunningService service,
      RunningService::Start(programs, copy.dir(), Flags({kRetains, "--trash_retention=0s"})));
  RETURN_IF_ERROR(WaitForCatalogCheck(copy.dir()));
  Operator asking(service.address);
  const Count count = [&] { return asking.VersionCount(); };
  RETURN_IF_ERROR(asking.SetPolicy(NewestOnly()));
  RETURN_IF_ERROR(WaitForChange(count));
  return MeasureRate(service.process, count, /*last=*/kVersionsStep, duration);
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
  ASSIGN_OR_RETURN(v1::Scrub scrub, asking.StartScrub());
  const std::string last = scrub.last_end_time().SerializeAsString();
  const auto start = MonotonicClock::now();
  while (scrub.last_end_time().SerializeAsString() == last) {
    if (SecondsSince(start) > absl::ToDoubleSeconds(kDeadline))
      return absl::DeadlineExceededError("a cycle of the job scrub does not come to its end");
    absl::SleepFor(kPollInterval);
    ASSIGN_OR_RETURN(scrub, asking.GetScrub());
  }
  return scrub;
}

absl::Duration TimeOf(const google::protobuf::Timestamp& time) {
  return absl::Seconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

// Loads of `clients` clients for `duration` each.
class Loads {
 public:
  absl::Status Measure(const ServerPair& servers, int clients, absl::Duration duration) {
    ASSIGN_OR_RETURN(const SessionLoadResult load, MeasureSessionLoad(servers, clients, duration));
    p99_.push_back(load.p99_milliseconds);
    sessions_.push_back(load.sessions_per_second);
    return absl::OkStatus();
  }
  double p99() const { return Median(p99_); }
  double worst_p99() const { return *std::max_element(p99_.begin(), p99_.end()); }
  double sessions() const { return Median(sessions_); }

 private:
  std::vector<double> p99_;
  std::vector<double> sessions_;
};

}  // namespace

absl::StatusOr<RetentionResult> MeasureRetention(const Programs& programs, const std::string& dir,
                                                 int64_t versions, int clients,
                                                 absl::Duration duration, int runs) {
  RETURN_IF_ERROR(MakeCatalog(programs, dir, versions, kPayload));
  RetentionResult result;
  RETURN_IF_ERROR(MeasurePreview(programs, dir, versions, result));
  TrashingRuns trashing;
  Rate purged;
  for (int run = 1; run <= runs; ++run) {
    RETURN_IF_ERROR(MeasureTrashing(programs, dir, versions - kVersionsStep, clients, duration,
                                    trashing, run == runs ? &purged : nullptr));
  }
  ASSIGN_OR_RETURN(const Rate removed, MeasureRemoving(programs, dir, duration));
  result.trashed_per_second = Median(trashing.trashed);
  result.trashed_cpu_microseconds = Median(trashing.trashed_cpu);
  result.purged_per_second = purged.per_second;
  result.purged_cpu_microseconds = purged.cpu_microseconds;
  result.removed_per_second = removed.per_second;
  result.removed_cpu_microseconds = removed.cpu_microseconds;
  result.sessions_alone_per_second = Median(trashing.alone);
  result.sessions_beside_per_second = Median(trashing.beside);
  result.trashed_beside_per_second = Median(trashing.trashed_beside);
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
  const int64_t steps = size / (kLargeRow * kVersionsStep) + 1;
  RETURN_IF_ERROR(MakeCatalog(programs, dir, steps * kVersionsStep, kLargePayload));
  // Ends after the servers, with which it does.
  std::future<absl::StatusOr<v1::BackUpStateResponse>> taken;
  ASSIGN_OR_RETURN(const auto servers, ServerPair::Start(programs, dir, Flags({})));
  RETURN_IF_ERROR(WaitForCatalogCheck(dir));
  Loads alone;
  Loads beside;
  for (int run = 0; run < runs; ++run) RETURN_IF_ERROR(alone.Measure(*servers, clients, duration));
  const auto start = MonotonicClock::now();
  taken = std::async(std::launch::async, [address = servers->service_address] {
    return Operator(address).BackUpState();
  });
  while (taken.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
    RETURN_IF_ERROR(beside.Measure(*servers, clients, duration));
  SnapshotResult result;
  result.seconds = SecondsSince(start);
  for (int run = 0; run < runs; ++run) RETURN_IF_ERROR(alone.Measure(*servers, clients, duration));
  ASSIGN_OR_RETURN(const v1::BackUpStateResponse snapshot, taken.get());
  result.catalog_mebibytes = static_cast<double>(snapshot.catalog_bytes()) / (1 << 20);
  result.mebibytes = static_cast<double>(snapshot.size_bytes()) / (1 << 20);
  result.alone_p99_milliseconds = alone.p99();
  result.beside_p99_milliseconds = beside.p99();
  result.worst_p99_milliseconds = beside.worst_p99();
  result.alone_per_second = alone.sessions();
  result.beside_per_second = beside.sessions();
  return result;
}

}  // namespace backup::bench

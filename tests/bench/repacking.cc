#include "tests/bench/repacking.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "legacy_client/key_pair.h"
#include "tests/bench/physical_limits.h"
#include "tests/bench/prepared_file.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

// Each file is a pack, which the job takes for a small one.
constexpr int64_t kFileSize = 4 << 20;
constexpr absl::Duration kPollInterval = absl::Milliseconds(10);
constexpr double kTimeoutSeconds = 120;
constexpr double kQuietSeconds = 2;
// Of rows, which are no content.
constexpr double kNoise = 1;

absl::Status UploadAll(const ServerPair& servers, int64_t size) {
  const auto key_pair = legacy_client::KeyPair::Generate();
  ASSIGN_OR_RETURN(const KnownClient client,
                   Introduce(servers.bridge_address, "bench repacking", key_pair));
  for (int64_t at = 0; at < size; at += kFileSize) {
    const PreparedFile file(client, absl::StrCat("file ", at), kFileSize);
    RETURN_IF_ERROR(file.Upload(servers.bridge_address));
  }
  return absl::OkStatus();
}

// Until it has nothing more to do.
absl::Status Repack(const Programs& programs, const std::string& dir, RepackingResult& result) {
  ASSIGN_OR_RETURN(
      const RunningService service,
      RunningService::Start(programs, dir, {"--repack_interval=1s", "--repack_rate=0"}));
  const auto start = MonotonicClock::now();
  const double cpu_start = service.process.CpuSeconds();
  const auto moved = [&] {
    return service.process.ReadMegabytes() + service.process.WrittenMegabytes();
  };
  const double before = moved();
  double seconds = 0;
  for (double last = 0; SecondsSince(start) < last + kQuietSeconds; absl::SleepFor(kPollInterval)) {
    if (SecondsSince(start) > kTimeoutSeconds)
      return absl::DeadlineExceededError("rewriting packs does not come to an end");
    const double now = moved() - before;
    if (now < result.moved_megabytes + kNoise) continue;
    result.moved_megabytes = now;
    result.cpu_seconds = service.process.CpuSeconds() - cpu_start;
    seconds = last = SecondsSince(start);
  }
  if (seconds > 0) result.mb_per_second = result.moved_megabytes / seconds;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RepackingResult> MeasureRepacking(const Programs& programs, const std::string& dir,
                                                 int64_t size) {
  std::string blobs;
  {
    ASSIGN_OR_RETURN(const auto servers,
                     ServerPair::Start(programs, dir, {"--repack_interval=0s"}));
    blobs = servers->data_dir + "/store/blobs";
    RETURN_IF_ERROR(UploadAll(*servers, size));
  }
  RepackingResult result;
  const std::string copy = dir + "/copy";
  ASSIGN_OR_RETURN(const double before, MeasureCopying(blobs, copy));
  RETURN_IF_ERROR(Repack(programs, dir, result));
  ASSIGN_OR_RETURN(const double after, MeasureCopying(blobs, copy));
  result.copy_mb_per_second = (before + after) / 2;
  // Each byte is read and written.
  result.digest_mb_per_second = 2 * MeasureDigests();
  return result;
}

}  // namespace backup::bench

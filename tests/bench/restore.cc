#include "tests/bench/restore.h"

#include <filesystem>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "tests/bench/timing.h"

namespace backup::bench {

absl::StatusOr<RestoreResult> MeasureRestore(const ServerPair& servers, const std::string& program,
                                             const std::string& dir, const std::string& client,
                                             int64_t size, int runs) {
  RestoreResult result;
  std::vector<double> speeds;
  const double service_start = servers.service.CpuSeconds();
  for (int run = 0; run < runs; ++run) {
    const std::string to = absl::StrCat(dir, "/restored");
    const auto start = MonotonicClock::now();
    ASSIGN_OR_RETURN(
        ChildProcess restore,
        ChildProcess::Start({program, absl::StrCat("--service=", servers.service_address), "-q",
                             "restore", "--client", client, "--to", to},
                            absl::StrCat(dir, "/restore.out"), absl::StrCat(dir, "/restore.log")));
    double cpu_seconds = 0;
    if (const int exit_code = restore.WaitForEnd(&cpu_seconds); exit_code != 0)
      return absl::InternalError(absl::StrCat("backupctl restore ended with ", exit_code));
    speeds.push_back(static_cast<double>(size) / kBytesPerMegabyte / SecondsSince(start));
    result.client_cpu_seconds += cpu_seconds;
    std::filesystem::remove_all(to);
  }
  result.service_cpu_seconds = servers.service.CpuSeconds() - service_start;
  result.median_mb_per_second = Median(speeds);
  result.gibibytes = static_cast<double>(size) * runs / kBytesPerGibibyte;
  return result;
}

}  // namespace backup::bench

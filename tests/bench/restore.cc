#include "tests/bench/restore.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

// Brings all files below `dir` into the page cache, or out of it.
absl::Status Place(const std::string& dir, StoredWhere where) {
  std::vector<char> piece(kPieceSize);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    const UniqueFd fd(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid() || ::fsync(fd.get()) != 0) return absl::ErrnoToStatus(errno, "open a blob");
    if (where == StoredWhere::kDisk)
      ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    else
      while (::read(fd.get(), piece.data(), piece.size()) > 0) continue;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RestoreResult> MeasureRestore(const ServerPair& servers, const std::string& program,
                                             const std::string& dir, const std::string& client,
                                             int64_t size, int runs, StoredWhere where) {
  RestoreResult result;
  std::vector<double> speeds;
  const double service_start = servers.service.CpuSeconds();
  for (int run = 0; run < runs; ++run) {
    RETURN_IF_ERROR(Place(absl::StrCat(servers.data_dir, "/store/blobs"), where));
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

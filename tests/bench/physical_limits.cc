#include "tests/bench/physical_limits.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "bridge/client/cipher.h"

namespace backup::bench {
namespace {

using MonotonicClock = std::chrono::steady_clock;

constexpr double kBytesPerMegabyte = 1e6;
constexpr double kSecondsPerMeasurement = 1.0;
constexpr size_t kSmallWrite = 1024;
constexpr size_t kDirectAlignment = 4096;

double SecondsSince(MonotonicClock::time_point start) {
  return std::chrono::duration<double>(MonotonicClock::now() - start).count();
}

double MeasureEncryption() {
  const std::vector<char> plaintext(kPieceSize, 'p');
  std::vector<char> out(kPieceSize + legacy_client::kCipherBlockSize);
  legacy_client::CbcEncryptor encryptor("0123456789abcdef");
  const auto start = MonotonicClock::now();
  double bytes = 0;
  while (SecondsSince(start) < kSecondsPerMeasurement) {
    bytes += static_cast<double>(
        encryptor.Update(absl::string_view(plaintext.data(), plaintext.size()), out));
  }
  return bytes / kBytesPerMegabyte / SecondsSince(start);
}

absl::StatusOr<double> MeasureDiskWrite(const std::string& path, int64_t size) {
  const std::unique_ptr<void, decltype(&free)> piece(
      std::aligned_alloc(kDirectAlignment, kPieceSize), &free);
  std::fill_n(static_cast<char*>(piece.get()), kPieceSize, 'd');
  const UniqueFd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open with O_DIRECT ", path));
  const auto start = MonotonicClock::now();
  if (::fallocate(fd.get(), 0, 0, size) != 0) return absl::ErrnoToStatus(errno, "fallocate");
  for (int64_t offset = 0; offset < size; offset += static_cast<int64_t>(kPieceSize)) {
    if (::pwrite(fd.get(), piece.get(), kPieceSize, offset) != static_cast<ssize_t>(kPieceSize)) {
      return absl::ErrnoToStatus(errno, "pwrite");
    }
  }
  if (::fdatasync(fd.get()) != 0) return absl::ErrnoToStatus(errno, "fdatasync");
  return static_cast<double>(size) / kBytesPerMegabyte / SecondsSince(start);
}

absl::StatusOr<double> MeasureFsync(const std::string& path) {
  const std::array<char, kSmallWrite> bytes = {};
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const auto start = MonotonicClock::now();
  double count = 0;
  for (; SecondsSince(start) < kSecondsPerMeasurement; ++count) {
    if (::pwrite(fd.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()) ||
        ::fsync(fd.get()) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("fsync ", path));
    }
  }
  return count / SecondsSince(start);
}

}  // namespace

absl::StatusOr<PhysicalLimits> MeasurePhysicalLimits(const std::string& dir, int64_t file_size) {
  const std::string path = absl::StrCat(dir, "/physical_limits");
  const absl::Cleanup remove = [&path] { ::unlink(path.c_str()); };
  PhysicalLimits limits;
  limits.cbc_encrypt_mb_per_second = MeasureEncryption();
  std::array<double, 3> writes;
  for (double& write : writes) {
    ASSIGN_OR_RETURN(write, MeasureDiskWrite(path, file_size));
  }
  std::sort(writes.begin(), writes.end());
  limits.disk_write_mb_per_second = writes[1];
  ASSIGN_OR_RETURN(limits.fsyncs_per_second, MeasureFsync(path));
  return limits;
}

}  // namespace backup::bench

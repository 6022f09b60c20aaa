#include "tests/bench/physical_limits.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "legacy_client/cipher.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr double kSecondsPerMeasurement = 1.0;
constexpr size_t kSmallWrite = 1024;
constexpr size_t kDirectAlignment = 4096;

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

double MeasureSha256() {
  const std::vector<unsigned char> bytes(kPieceSize, 'h');
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  const auto start = MonotonicClock::now();
  double hashed = 0;
  for (; SecondsSince(start) < kSecondsPerMeasurement; hashed += static_cast<double>(kPieceSize))
    SHA256(bytes.data(), bytes.size(), digest.data());
  return hashed / kBytesPerMegabyte / SecondsSince(start);
}

// Writes to `out` until `end`.
void Flood(UniqueFd out, MonotonicClock::time_point end) {
  const std::vector<char> piece(kPieceSize, 't');
  while (MonotonicClock::now() < end) {
    if (::send(out.get(), piece.data(), piece.size(), MSG_NOSIGNAL) <= 0) return;
  }
}

absl::StatusOr<double> MeasureLoopback() {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), any, size) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), any, &size) != 0) {
    return absl::ErrnoToStatus(errno, "listen on loopback");
  }
  UniqueFd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(out.get(), any, size) != 0) return absl::ErrnoToStatus(errno, "connect");
  const UniqueFd in(::accept(listener.get(), nullptr, nullptr));
  const auto start = MonotonicClock::now();
  const std::jthread sender(Flood, std::move(out),
                            start + std::chrono::duration_cast<MonotonicClock::duration>(
                                        std::chrono::duration<double>(kSecondsPerMeasurement)));
  std::vector<char> piece(kPieceSize);
  double received = 0;
  while (true) {
    const ssize_t got = ::recv(in.get(), piece.data(), piece.size(), 0);
    if (got <= 0) break;
    received += static_cast<double>(got);
  }
  return received / kBytesPerMegabyte / SecondsSince(start);
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

// Reads the file `source` while one of the same size is written to `path`.
absl::StatusOr<double> MeasureDiskCopy(const std::string& source, const std::string& path,
                                       int64_t size) {
  const UniqueFd fd(::open(source.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open with O_DIRECT ", source));
  const auto start = MonotonicClock::now();
  {
    const std::jthread reader([&fd] {
      const std::unique_ptr<void, decltype(&free)> piece(
          std::aligned_alloc(kDirectAlignment, kPieceSize), &free);
      while (::read(fd.get(), piece.get(), kPieceSize) > 0) continue;
    });
    RETURN_IF_ERROR(MeasureDiskWrite(path, size).status());
  }
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
  limits.sha256_mb_per_second = MeasureSha256();
  ASSIGN_OR_RETURN(limits.loopback_mb_per_second, MeasureLoopback());
  std::array<double, 3> writes;
  for (double& write : writes) {
    ASSIGN_OR_RETURN(write, MeasureDiskWrite(path, file_size));
  }
  std::sort(writes.begin(), writes.end());
  limits.disk_write_mb_per_second = writes[1];
  const std::string copy_path = path + ".copy";
  const absl::Cleanup remove_copy = [&copy_path] { ::unlink(copy_path.c_str()); };
  ASSIGN_OR_RETURN(limits.disk_copy_mb_per_second, MeasureDiskCopy(path, copy_path, file_size));
  ASSIGN_OR_RETURN(limits.fsyncs_per_second, MeasureFsync(path));
  return limits;
}

}  // namespace backup::bench

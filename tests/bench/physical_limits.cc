#include "tests/bench/physical_limits.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "content/chunk_digest.h"
#include "legacy_client/cipher.h"
#include "nlohmann/json.hpp"
#include "tests/bench/child_process.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr double kSecondsPerMeasurement = 1.0;
constexpr size_t kSmallWrite = 1024;
constexpr size_t kDirectAlignment = 4096;
// Pieces of many files that are moved at once, and digests that are computed at once, as jobs do.
constexpr int kDepth = 4;
constexpr auto kStep = static_cast<int64_t>(kPieceSize);
constexpr char kFio[] = "/usr/bin/fio";

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

// Calls `move(piece, offset)` for each piece of a file of `size` bytes, as many at once as `depth`
// says; it returns how many bytes it moved, as pwrite() does.
template <typename Move>
absl::Status MovePieces(int64_t size, int depth, const Move& move) {
  std::atomic<int64_t> next = 0;
  std::atomic<int> error = 0;
  {
    std::vector<std::jthread> movers;
    for (int i = 0; i < depth; ++i) {
      movers.emplace_back([&] {
        const std::unique_ptr<void, decltype(&free)> piece(
            std::aligned_alloc(kDirectAlignment, kPieceSize), &free);
        std::fill_n(static_cast<char*>(piece.get()), kPieceSize, 'd');
        for (int64_t offset = next.fetch_add(kStep); offset < size && error == 0;
             offset = next.fetch_add(kStep)) {
          if (move(piece.get(), offset) != static_cast<ssize_t>(kPieceSize)) error = errno;
        }
      });
    }
  }
  return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, "write or read a file");
}

// `depth` pieces at once past the page cache, or, if that is 0, one after the other through it.
absl::StatusOr<double> MeasureDiskWrite(const std::string& path, int64_t size, int depth) {
  const int direct = depth > 0 ? O_DIRECT : 0;
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | direct | O_CLOEXEC, 0600));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open with O_DIRECT ", path));
  const auto start = MonotonicClock::now();
  if (::fallocate(fd.get(), 0, 0, size) != 0) return absl::ErrnoToStatus(errno, "fallocate");
  RETURN_IF_ERROR(MovePieces(size, std::max(depth, 1), [&](void* piece, int64_t offset) {
    return ::pwrite(fd.get(), piece, kPieceSize, offset);
  }));
  if (::fdatasync(fd.get()) != 0) return absl::ErrnoToStatus(errno, "fdatasync");
  return static_cast<double>(size) / kBytesPerMegabyte / SecondsSince(start);
}

// The same by fio, which has ways of its own.
absl::StatusOr<double> MeasureDiskWriteByFio(const std::string& path, int64_t size, int depth) {
  const std::string out = path + ".fio";
  const absl::Cleanup remove = [&out] { ::unlink(out.c_str()); };
  ASSIGN_OR_RETURN(
      ChildProcess fio,
      ChildProcess::Start(
          {kFio, "--name=limit", absl::StrCat("--filename=", path), absl::StrCat("--size=", size),
           "--rw=write", "--bs=1M", "--end_fsync=1", "--fallocate=posix", "--output-format=json",
           absl::StrCat("--direct=", depth > 0 ? 1 : 0),
           absl::StrCat("--iodepth=", std::max(depth, 1)),
           absl::StrCat("--ioengine=", depth > 1 ? "libaio" : "psync")},
          out, "/dev/null"));
  double cpu_seconds = 0;
  const int exit_code = fio.WaitForEnd(&cpu_seconds);
  const auto result =
      nlohmann::json::parse(std::ifstream(out), nullptr, /*allow_exceptions=*/false);
  const nlohmann::json::json_pointer speed("/jobs/0/write/bw_bytes");
  if (exit_code != 0 || !result.is_object() || !result.contains(speed))
    return absl::InternalError(absl::StrCat("fio ended with ", exit_code));
  return result[speed].get<double>() / kBytesPerMegabyte;
}

absl::Status MeasureDiskWrites(const std::string& path, int64_t size, PhysicalLimits& limits) {
  const auto add = [&](const std::string& how, double speed) {
    limits.disk_writes.push_back({how, speed});
    limits.disk_write_mb_per_second = std::max(limits.disk_write_mb_per_second, speed);
  };
  const auto name = [](int depth) {
    return depth == 0 ? "through the page cache" : absl::StrCat("direct, ", depth, " at once");
  };
  const bool has_fio = ::access(kFio, X_OK) == 0;
  for (const int depth : {0, 1, 4, 16}) {
    ASSIGN_OR_RETURN(const double speed, MeasureDiskWrite(path, size, depth));
    add(name(depth), speed);
    if (!has_fio) continue;
    ASSIGN_OR_RETURN(const double by_fio, MeasureDiskWriteByFio(path, size, depth));
    add(absl::StrCat(name(depth), ", by fio"), by_fio);
  }
  return absl::OkStatus();
}

// Reads the file `source` while one of the same size is written to `path`.
absl::StatusOr<double> MeasureDiskCopy(const std::string& source, const std::string& path,
                                       int64_t size, int depth) {
  const UniqueFd fd(::open(source.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open with O_DIRECT ", source));
  const auto start = MonotonicClock::now();
  absl::Status read;
  {
    const std::jthread reader([&] {
      read = MovePieces(size, depth, [&](void* piece, int64_t offset) {
        return ::pread(fd.get(), piece, kPieceSize, offset);
      });
    });
    RETURN_IF_ERROR(MeasureDiskWrite(path, size, depth).status());
  }
  RETURN_IF_ERROR(read);
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

// A part of a file, and where a copy has it.
struct CopiedPiece {
  int fd = -1;
  int64_t offset = 0;
  int64_t to_offset = 0;
};

ssize_t CopyPiece(const CopiedPiece& from, int to_fd, void* piece) {
  const ssize_t got = ::pread(from.fd, piece, kPieceSize, from.offset);
  if (got <= 0) return got;
  const size_t blocks = (static_cast<size_t>(got) + kDirectAlignment - 1) / kDirectAlignment;
  const ssize_t written = ::pwrite(to_fd, piece, blocks * kDirectAlignment, from.to_offset);
  return written < 0 ? written : static_cast<ssize_t>(kPieceSize);
}

// All files below a folder, past the page cache.
struct OpenFiles {
  std::vector<UniqueFd> files;
  std::vector<CopiedPiece> pieces;
  int64_t size = 0;

  int64_t copy_size() const { return std::ssize(pieces) * kStep; }
  const CopiedPiece& PieceAt(int64_t to_offset) const {
    return pieces[static_cast<size_t>(to_offset / kStep)];
  }
};

absl::StatusOr<OpenFiles> OpenAll(const std::string& dir) {
  OpenFiles open;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    open.files.emplace_back(::open(entry.path().c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    if (!open.files.back().valid()) return absl::ErrnoToStatus(errno, "open with O_DIRECT");
    const auto file_size = static_cast<int64_t>(entry.file_size());
    for (int64_t offset = 0; offset < file_size; offset += kStep)
      open.pieces.push_back({open.files.back().get(), offset, open.copy_size()});
    open.size += file_size;
  }
  return open;
}

}  // namespace

double MeasureDigests() {
  const content::ChunkIdKey key{std::string(32, 'k'), std::string(32, 's')};
  const std::string bytes(kPieceSize, 'c');
  const std::array<absl::string_view, kDepth> chunks = {bytes, bytes, bytes, bytes};
  double digested = 0;
  const auto start = MonotonicClock::now();
  for (; SecondsSince(start) < kSecondsPerMeasurement;
       digested += static_cast<double>(chunks.size() * bytes.size()))
    content::DigestsOf(key, chunks);
  return digested / kBytesPerMegabyte / SecondsSince(start);
}

absl::StatusOr<double> MeasureReading(const std::string& dir) {
  ASSIGN_OR_RETURN(const OpenFiles open, OpenAll(dir));
  const auto start = MonotonicClock::now();
  RETURN_IF_ERROR(MovePieces(open.copy_size(), kDepth, [&](void* piece, int64_t offset) {
    const CopiedPiece& from = open.PieceAt(offset);
    const ssize_t got = ::pread(from.fd, piece, kPieceSize, from.offset);
    return got <= 0 ? got : static_cast<ssize_t>(kPieceSize);
  }));
  return static_cast<double>(open.size) / kBytesPerMegabyte / SecondsSince(start);
}

absl::StatusOr<double> MeasureCopying(const std::string& dir, const std::string& to) {
  ASSIGN_OR_RETURN(const OpenFiles open, OpenAll(dir));
  const absl::Cleanup remove = [&to] { ::unlink(to.c_str()); };
  const UniqueFd fd(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600));
  const int64_t to_size = open.copy_size();
  const auto start = MonotonicClock::now();
  if (::fallocate(fd.get(), 0, 0, to_size) != 0) return absl::ErrnoToStatus(errno, "fallocate");
  RETURN_IF_ERROR(MovePieces(to_size, kDepth, [&](void* piece, int64_t offset) {
    return CopyPiece(open.PieceAt(offset), fd.get(), piece);
  }));
  if (::fdatasync(fd.get()) != 0) return absl::ErrnoToStatus(errno, "fdatasync");
  return 2 * static_cast<double>(open.size) / kBytesPerMegabyte / SecondsSince(start);
}

absl::StatusOr<PhysicalLimits> MeasurePhysicalLimits(const std::string& dir, int64_t file_size) {
  const std::string path = absl::StrCat(dir, "/physical_limits");
  const absl::Cleanup remove = [&path] { ::unlink(path.c_str()); };
  PhysicalLimits limits;
  limits.cbc_encrypt_mb_per_second = MeasureEncryption();
  limits.sha256_mb_per_second = MeasureSha256();
  ASSIGN_OR_RETURN(limits.loopback_mb_per_second, MeasureLoopback());
  RETURN_IF_ERROR(MeasureDiskWrites(path, file_size, limits));
  const std::string copy_path = path + ".copy";
  const absl::Cleanup remove_copy = [&copy_path] { ::unlink(copy_path.c_str()); };
  for (const int depth : {1, 4}) {
    ASSIGN_OR_RETURN(const double speed, MeasureDiskCopy(path, copy_path, file_size, depth));
    limits.disk_copy_mb_per_second = std::max(limits.disk_copy_mb_per_second, speed);
  }
  ASSIGN_OR_RETURN(limits.fsyncs_per_second, MeasureFsync(path));
  return limits;
}

}  // namespace backup::bench

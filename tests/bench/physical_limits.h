#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace backup::bench {

// One way to write a file of 1 MiB pieces, and how fast it was.
struct DiskWrite {
  std::string how;
  double mb_per_second = 0;
};

// What this machine can do now, at best, in a stage that every upload has to pass.
struct PhysicalLimits {
  double cbc_encrypt_mb_per_second = 0;  // AES-128, one core.
  double sha256_mb_per_second = 0;       // One core.
  double loopback_mb_per_second = 0;     // TCP, one stream.
  // Past the page cache, so many at once, and through it, synced at the end; by us, and where it is
  // installed by fio.
  std::vector<DiskWrite> disk_writes;
  double disk_write_mb_per_second = 0;  // The best of those.
  double disk_copy_mb_per_second = 0;   // While another file is read so, at that speed.
  double fsyncs_per_second = 0;         // 1 KiB written over and over.
};

// Measures in the folder `dir`, with files of `file_size` bytes (a multiple of 1 MiB); takes a few
// seconds. Fails if the file system cannot write past the page cache.
absl::StatusOr<PhysicalLimits> MeasurePhysicalLimits(const std::string& dir, int64_t file_size);

// As a plain program does it that has nothing else to do, copies all files below `dir` into one new
// file `to`: past the page cache, a few pieces at once, synced at the end. Returns how many MB it
// reads and writes in a second, together.
absl::StatusOr<double> MeasureCopying(const std::string& dir, const std::string& to);

// The same, but only reads them; MB a second.
absl::StatusOr<double> MeasureReading(const std::string& dir);

// How many MB of chunks one core can compare with their ids in a second.
double MeasureDigests();

}  // namespace backup::bench

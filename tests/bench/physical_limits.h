#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace backup::bench {

// What this machine can do now, at best, in a stage that every upload has to pass.
struct PhysicalLimits {
  double cbc_encrypt_mb_per_second = 0;  // AES-128, one core.
  double sha256_mb_per_second = 0;       // One core.
  double loopback_mb_per_second = 0;     // TCP, one stream.
  double disk_write_mb_per_second = 0;   // 1 MiB writes past the page cache, then fdatasync.
  double disk_copy_mb_per_second = 0;    // The same while another file is read so, at that speed.
  double fsyncs_per_second = 0;          // 1 KiB written over and over.
};

// Measures in the folder `dir`, with files of `file_size` bytes (a multiple of 1 MiB); takes a few
// seconds. Fails if the file system cannot write past the page cache.
absl::StatusOr<PhysicalLimits> MeasurePhysicalLimits(const std::string& dir, int64_t file_size);

}  // namespace backup::bench

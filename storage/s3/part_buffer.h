#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/aligned_buffer.h"
#include "crypto/sha256.h"
#include "storage/s3/memory_bound.h"

namespace backup::storage::s3 {

// Every part of an object but the last has at least kMinPartSize (the rule of S3), and ours have
// kPartSize at most: as many as that are allowed of parts make 156 GiB.
inline constexpr int64_t kMinPartSize = int64_t{5} << 20;
inline constexpr int64_t kPartSize = int64_t{16} << 20;
inline constexpr int kMaxParts = 10'000;
inline constexpr int64_t kMaxObjectSize = kMaxParts * kPartSize;

// A part of an object, gathered in memory with its digest, since that goes out before it. Memory is
// taken as it is needed: kSlabSize at a time. Used by one thread at a time.
class PartBuffer {
 public:
  static constexpr int64_t kSlabSize = int64_t{1} << 20;

  // `memory` must outlive this. `purpose`: whether this is all that its user has (kBeginning), or
  // parts of the same object went before it; once there is something in it, it goes on.
  explicit PartBuffer(MemoryBound& memory, MemoryBound::For purpose = MemoryBound::For::kBeginning)
      : memory_(memory), purpose_(purpose) {}
  ~PartBuffer() { memory_.GiveBack(taken_bytes_); }
  PartBuffer(const PartBuffer&) = delete;
  PartBuffer& operator=(const PartBuffer&) = delete;

  int64_t size_bytes() const { return size_bytes_; }
  // How much can be appended without taking more memory.
  int64_t room() const { return taken_bytes_ - size_bytes_; }
  // Takes memory for so many bytes more; false if there is none within `patience`.
  bool TakeRoom(int64_t bytes, absl::Duration patience);
  // Copies as much of `bytes` as there is room for, and returns how much that was.
  size_t Append(absl::string_view bytes);

  // All of it; lasts as long as this.
  std::vector<absl::string_view> Pieces() const;
  // Of all of it, in hex. Once, at the end.
  std::string FinishSha256();

 private:
  MemoryBound& memory_;
  MemoryBound::For purpose_;
  int64_t taken_bytes_ = 0;
  int64_t size_bytes_ = 0;
  std::vector<AlignedBuffer> slabs_;
  crypto::Sha256 sha256_;
};

}  // namespace backup::storage::s3

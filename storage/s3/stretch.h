#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/aligned_buffer.h"
#include "base/mutex.h"
#include "storage/s3/memory_bound.h"
#include "storage/s3/s3_client.h"

namespace backup::storage::s3 {

// A stretch of an object that is on its way, or there. Thread-safe.
class Stretch {
 public:
  // Memory is taken in whole ones of these, as it is little or much: few different sizes of
  // buffers.
  static constexpr int64_t kSmallStep = int64_t{256} << 10;
  static constexpr int64_t kMemoryStep = int64_t{1} << 20;
  // What a stretch of this size takes.
  static int64_t MemoryOf(int64_t size_bytes);

  // Asks for it. MemoryOf(size_bytes) has been taken of `memory`, and is given back. Where the
  // object's size is known the stretch must lie within it; else it ends where the object does.
  Stretch(std::shared_ptr<S3Client> client, std::shared_ptr<MemoryBound> memory,
          const std::string& key, int64_t offset, int64_t size_bytes,
          std::optional<int64_t> object_size);
  ~Stretch();
  Stretch(const Stretch&) = delete;
  Stretch& operator=(const Stretch&) = delete;

  int64_t offset() const { return offset_; }
  // As it was asked for.
  int64_t end() const { return offset_ + size_; }
  bool Has(int64_t offset) const { return offset >= offset_ && offset < end(); }

  // Waits for it: how large the object is. NotFound, OutOfRange if that has no byte at its
  // beginning; ToStatus(), reason STORAGE_IO.
  absl::StatusOr<int64_t> Finish();
  // Copies what it has from `offset` on, as much as goes into `out`: how much that was.
  absl::StatusOr<size_t> Read(int64_t offset, std::span<char> out);

 private:
  std::span<char> bytes() const { return {buffer_.get(), static_cast<size_t>(size_)}; }
  absl::StatusOr<int64_t> Check(const absl::StatusOr<HttpAnswer>& got) const;

  const std::shared_ptr<S3Client> client_;
  const std::shared_ptr<MemoryBound> memory_;
  const std::optional<int64_t> object_size_;
  const int64_t offset_;
  const int64_t size_;
  const AlignedBuffer buffer_;
  Mutex mutex_;
  std::optional<absl::StatusOr<int64_t>> finished_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<S3Call> call_;  // Last: it writes to the buffer.
};

}  // namespace backup::storage::s3

#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/byte_stream.h"
#include "base/mutex.h"

namespace backup {

// Reads another source on a thread of its own, a few pieces ahead, so that what comes before this
// stage and what comes after it go on at once. Used by one thread at a time.
class ReadAheadSource final : public ByteSource {
 public:
  // So many at most in this process: each costs a thread and kBuffers pieces.
  static constexpr int kMaxInstances = 16;

  // Begins to read `source`, which nobody else may touch until this is destroyed. Null if there are
  // too many already: then read `source` itself.
  static std::unique_ptr<ReadAheadSource> TryStart(ByteSource& source);
  // Waits for a read of the source that is going on.
  ~ReadAheadSource() override;
  ReadAheadSource(const ReadAheadSource&) = delete;
  ReadAheadSource& operator=(const ReadAheadSource&) = delete;

  absl::StatusOr<absl::string_view> Read() override;

 private:
  static constexpr size_t kBuffers = 3;

  explicit ReadAheadSource(ByteSource& source);
  void Produce();
  // The buffer for the next piece; null once nobody wants it.
  std::string* WaitForBuffer();

  ByteSource& source_;
  // A buffer is the producer's unless it is among the produced ones that were not released.
  std::array<std::string, kBuffers> buffers_;
  Mutex mutex_;
  CondVar changed_;
  size_t produced_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t released_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::jthread producer_;  // Last: ends before what it uses.
};

}  // namespace backup

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/byte_stream.h"
#include "base/mutex.h"
#include "base/start_thread.h"

namespace backup {

// How many sources may read ahead at once: each costs a thread and a few pieces. Thread-safe.
class ReadAheadSlots {
 public:
  static constexpr int kMaxSlots = 32;

  ReadAheadSlots() = default;
  ReadAheadSlots(const ReadAheadSlots&) = delete;
  ReadAheadSlots& operator=(const ReadAheadSlots&) = delete;

  // False if all are taken.
  bool TryTake();
  // Of one that was taken.
  void GiveBack();

 private:
  std::atomic<int> taken_ = 0;
};

// Reads another source on a thread of its own, a few pieces ahead, so that what comes before this
// stage and what comes after it go on at once. Nothing is copied. Used by one thread at a time.
class ReadAheadSource final : public LastingSource {
 public:
  // Pieces of the source that are in use at once, beside those that are to last.
  static constexpr size_t kPieces = 3;

  // A stage behind `source`, which nobody else may touch until this is destroyed. Null if no slot
  // is free: then read `source` itself. `slots` must outlive this.
  static std::unique_ptr<ReadAheadSource> TryMake(LastingSource& source, ReadAheadSlots& slots,
                                                  ThreadStarter start = TryStartThread);
  // Waits for a read of the source that is going on.
  ~ReadAheadSource() override;
  ReadAheadSource(const ReadAheadSource&) = delete;
  ReadAheadSource& operator=(const ReadAheadSource&) = delete;

  void MakeLast(size_t pieces) override {
    lasting_pieces_ = pieces;
    source_.MakeLast(pieces + kPieces);
  }
  size_t lasting_pieces() const override { return lasting_pieces_; }
  // The thread starts with the first call. If the system has no room for it, nothing is read ahead.
  absl::StatusOr<absl::string_view> Read() override;

 private:
  ReadAheadSource(LastingSource& source, ReadAheadSlots& slots, ThreadStarter start)
      : source_(source), slots_(slots), start_(std::move(start)) {
    MakeLast(0);
  }
  void Produce();
  // False once nobody wants another piece.
  bool WaitForRoom();

  LastingSource& source_;
  size_t lasting_pieces_ = 0;
  ReadAheadSlots& slots_;  // One of them is taken.
  ThreadStarter start_;    // Empty once used.
  Mutex mutex_;
  CondVar changed_;
  // The last pieces produced; those that were not released are valid.
  std::array<absl::string_view, kPieces> pieces_ ABSL_GUARDED_BY(mutex_);
  size_t produced_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t released_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread producer_;
};

}  // namespace backup

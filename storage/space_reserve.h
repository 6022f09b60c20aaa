#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "storage/storage_metrics.h"

namespace backup::storage {

// Room that is kept for the day when there is none: kPieces files, DIRECTORY/0 and so on, whose
// blocks are really allocated. Who writes so that room can be made, and finds none, gives one of
// them up (Release()) and tries again. While one is missing nothing may grow (CheckGrowth()), so
// that what was given up serves recovery alone. Each piece also gives back an inode. Thread-safe.
class SpaceReserve {
 public:
  static constexpr int kPieces = 8;
  static constexpr int64_t kMaxBytes = int64_t{64} << 20;

  // How much of a file system is kept: kMaxBytes, or a sixteenth of a small one.
  static int64_t SizeFor(int64_t disk_bytes);

  // Takes over the pieces that are there. The parent of `directory` must exist, and nobody else may
  // use it. Makes nothing: Restore() does.
  explicit SpaceReserve(std::string directory, const StorageMetrics& metrics = {});

  // OK if more may be stored; else reason STORAGE_FULL, with what to do about it.
  absl::Status CheckGrowth() const;

  // Gives one piece up; false if none is left. While Restore() runs, which takes room for a moment
  // that it may not keep, it waits for that and gives up nothing: the caller is to try again. Needs
  // no descriptor, no memory worth mentioning and no room.
  bool Release();
  // Gives up pieces until there is room for one piece and a few files, or none is left.
  void MakeRoom();
  // Makes the missing pieces if there is room for them and for one more, so that what was just
  // restored is not needed at once; else none. Returns whether all are there. Used by one thread at
  // a time.
  bool Restore();

  bool is_whole() const { return pieces_.load() == kPieces; }
  // When all pieces are there.
  int64_t size_bytes() const { return kPieces * piece_bytes_; }

  // Tells how large the catalog's log is. When it can be emptied, all of it may have to be copied
  // into the catalog, so an exceptionally large one must not outgrow the room that is left.
  void NoteLogBytes(int64_t bytes) { log_bytes_.store(bytes); }

 private:
  std::string PieceAt(int index) const;
  bool IsThere(int index) const;
  // Makes a file of a piece's size that is allocated.
  bool Allocate(const std::string& path) const;
  void SetPieces(int pieces) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string directory_;
  const int64_t piece_bytes_;
  const Gauge reserved_bytes_;
  std::atomic<int64_t> log_bytes_ = 0;
  Mutex mutex_;  // Held while pieces_ and the files change.
  CondVar restored_;
  bool is_restoring_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<int> pieces_ = 0;  // Those from 0 on are there.
};

}  // namespace backup::storage

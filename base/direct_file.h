#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/aligned_buffer.h"
#include "base/bulk_throttle.h"
#include "base/file_system.h"
#include "base/io_engine.h"
#include "base/io_queue.h"

namespace backup {

// A new file that is written front to back. Full blocks bypass the page cache, where the file
// system can; the rest goes through it at the end. Several such writes are in flight at once where
// space was set aside for them. What returns bool returns false on failure, its own or that of
// a write that was in flight before, and sets errno; it returns false ever after then. Used by one
// thread at a time.
class DirectFile {
 public:
  // `file` is new, and made with O_DIRECT. It does not grow into the last `reserve_bytes` of its
  // file system: ENOSPC. Writes wait for `throttle`, if there is one; `engine` as for IoQueue.
  explicit DirectFile(std::unique_ptr<File> file, int64_t reserve_bytes = 0,
                      BulkThrottle* throttle = nullptr, IoEngine* engine = nullptr)
      : file_(std::move(file)),
        reserve_bytes_(reserve_bytes),
        throttle_(throttle),
        queue_(engine) {}

  // Sets space aside, before anything is written; where the file system cannot, nothing happens.
  bool Allocate(int64_t size_bytes);
  // Appends `piece`. What is aligned by kBufferAlignment is not copied.
  bool Write(absl::string_view piece);
  // As ByteSink::LetPiecesLast(): aligned pieces may be in flight so long.
  void LetPiecesLast(size_t pieces);
  // Appends `size_bytes` zeros without writing them: a hole, where the file system has holes. Both
  // the size and what was appended before must be multiples of kBufferAlignment.
  bool Skip(int64_t size_bytes);
  // Waits for what is in flight, writes what waits for a full block, and gives back what was
  // allocated and not used.
  bool Flush();
  // What was flushed is on the medium when this returns true.
  bool Sync();

  // How many bytes were handed to the file system.
  int64_t written_bytes() const { return offset_; }

 private:
  // A write that was started.
  struct InFlight {
    absl::string_view bytes;
    int64_t offset = 0;
    AlignedBuffer own;  // What the bytes are in, unless that is the caller's.
    int64_t piece = 0;  // Of the caller's pieces, the number of this one.
  };

  // Whether there is room for `size_bytes` more without touching the reserve.
  bool HasRoom(int64_t size_bytes) const;
  bool WriteBuffer();
  // False, with errno, if a write has failed.
  bool HasNotFailed() const;
  // Whether the file may grow to `end` bytes.
  bool KeepReserve(int64_t end);
  // Appends `bytes`, which are aligned as O_DIRECT wants it unless that is off. They are all of
  // `own`, which is taken if it must last, or, if that is null, the caller's.
  bool WriteOut(absl::string_view bytes, AlignedBuffer* own);
  bool TryStart(absl::string_view bytes, AlignedBuffer* own);
  // Waits for the writes of pieces that need not last any longer.
  void ReleasePieces();
  // Waits for the oldest write that is in flight. What fails, HasNotFailed() tells.
  void FinishOldest();
  bool WriteNow(absl::string_view bytes, int64_t offset);

  const std::unique_ptr<File> file_;
  const int64_t reserve_bytes_;
  BulkThrottle* const throttle_;
  size_t lasting_pieces_ = 0;
  std::deque<InFlight> in_flight_;  // As in queue_.
  int64_t pieces_ = 0;              // That were written or skipped.
  int error_ = 0;                   // The first errno of a write.
  AlignedBuffer buffer_;            // Null until something must wait.
  size_t filled_ = 0;
  int64_t offset_ = 0;
  int64_t allocated_ = 0;
  int64_t room_until_ = 0;  // The reserve is safe if the file does not grow beyond this.
  IoQueue queue_;           // Last: what is in flight ends first.
};

}  // namespace backup

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/byte_stream.h"
#include "base/io_engine.h"
#include "base/io_queue.h"

namespace backup {

// How many bytes of large pieces the PieceBuffers that share it may have together. Thread-safe.
class PieceBudget {
 public:
  static constexpr int64_t kMaxBytes = int64_t{192} << 20;

  explicit PieceBudget(int64_t max_bytes = kMaxBytes) : max_bytes_(max_bytes) {}
  PieceBudget(const PieceBudget&) = delete;
  PieceBudget& operator=(const PieceBudget&) = delete;

  // False if so many bytes are not left.
  bool TryTake(int64_t bytes);
  // Of those that were taken.
  void GiveBack(int64_t bytes) { taken_.fetch_sub(bytes); }

 private:
  const int64_t max_bytes_;
  std::atomic<int64_t> taken_ = 0;
};

// A part of a budget, for those who have to know before the first piece is made whether there is
// room for as many large ones as they want: all of them, or none. Thread-safe.
class PieceGrant {
 public:
  // `budget` must outlive this.
  PieceGrant(PieceBudget& budget, size_t pieces)
      : budget_(budget),
        granted_bytes_(Take(budget, static_cast<int64_t>(pieces * kPieceSize))),
        own_budget_(granted_bytes_) {}
  ~PieceGrant() { budget_.GiveBack(granted_bytes_); }
  PieceGrant(const PieceGrant&) = delete;
  PieceGrant& operator=(const PieceGrant&) = delete;

  bool is_granted() const { return granted_bytes_ > 0; }
  // What was granted, to make pieces from.
  PieceBudget& budget() { return own_budget_; }

 private:
  static int64_t Take(PieceBudget& budget, int64_t bytes) {
    return budget.TryTake(bytes) ? bytes : 0;
  }

  PieceBudget& budget_;
  const int64_t granted_bytes_;
  PieceBudget own_budget_;
};

// Where a source makes its pieces: buffers that are used in turn, so that a piece lasts while later
// ones are made. They are aligned for direct I/O, and memory is taken as it is used. Large pieces
// are faster, so each set of buffers gets them as long as the budget that it shares with others has
// room for them, and else small ones: thousands of slow uploads stay within a bound. Used by one
// thread at a time.
class PieceBuffers {
 public:
  static constexpr size_t kAlignment = kBufferAlignment;
  static constexpr size_t kSmallPieceSize = size_t{128} << 10;
  // Room behind each piece.
  static constexpr size_t kSlack = 64;

  // For a content of `expected_size` bytes, if that is known. `budget` must outlive this.
  explicit PieceBuffers(PieceBudget& budget, std::optional<int64_t> expected_size = std::nullopt)
      : budget_(budget), expected_size_(expected_size) {}
  ~PieceBuffers();
  PieceBuffers(const PieceBuffers&) = delete;
  PieceBuffers& operator=(const PieceBuffers&) = delete;

  // How many buffers are used in turn; 1 unless told otherwise. Before the first Next().
  void set_count(size_t count) { count_ = count; }

  // The next buffer: piece_size() + kSlack bytes. The oldest piece ends with this.
  char* Next();
  // How large a piece is to be, kMaxPieceSize at most. Valid after the first Next().
  size_t piece_size() const { return piece_size_; }

 private:
  void ChooseSize();

  PieceBudget& budget_;
  const std::optional<int64_t> expected_size_;
  size_t count_ = 1;
  size_t piece_size_ = 0;
  int64_t reserved_bytes_ = 0;  // Of the budget.
  size_t next_ = 0;
  std::vector<AlignedBuffer> buffers_;
};

// Shows a piece to an observer while it is filled: parts of kHotSize wherever what it is made of
// was cut, since what looks at them is fastest with whole parts; the last of a piece may be
// smaller. Used by one thread at a time.
class ObservedPiece {
 public:
  // Both must outlive this; an empty observer looks at nothing.
  ObservedPiece(const Observer& observer, const char* piece) : observer_(observer), piece_(piece) {}

  // Up to which size the piece may be filled until the next Filled().
  size_t limit() const { return observer_ ? observed_ + kHotSize : SIZE_MAX; }
  // There are `size` bytes of the piece by now.
  void Filled(size_t size) {
    while (observer_ && size - observed_ >= kHotSize) Observe(kHotSize);
  }
  // It has no more than these.
  void Finish(size_t size) {
    Filled(size);
    if (observer_ && size > observed_) Observe(size - observed_);
  }

 private:
  void Observe(size_t size) {
    observer_(absl::string_view(piece_ + observed_, size));
    observed_ += size;
  }

  const Observer& observer_;
  const char* const piece_;
  size_t observed_ = 0;
};

// What another source yields, in pieces of its own making: full ones but for the last. Used by one
// thread at a time.
class GatherSource final : public LastingSource {
 public:
  GatherSource(ByteSource& source, PieceBudget& budget, std::optional<int64_t> expected_size)
      : source_(source), buffers_(budget, expected_size) {}
  void MakeLast(size_t pieces) override { buffers_.set_count(pieces + 1); }
  // Before the first Read().
  void set_observer(Observer observer) { observer_ = std::move(observer); }
  absl::StatusOr<absl::string_view> Read() override;

 private:
  ByteSource& source_;
  PieceBuffers buffers_;
  Observer observer_;
  absl::string_view rest_;  // Of what was read of the source.
  bool ended_ = false;
};

// The bytes [offset, offset + size_bytes) of `access`, in order. Large ones are read ahead, as many
// pieces as `access` likes to read at once, while the budget has room for large pieces. `engine` as
// for IoQueue. Used by one thread at a time.
class RangeSource final : public LastingSource {
 public:
  RangeSource(const RandomAccess& access, PieceBudget& budget, int64_t offset, int64_t size_bytes,
              IoEngine* engine = nullptr);
  void MakeLast(size_t pieces) override { buffers_.set_count(pieces + depth_); }
  absl::StatusOr<absl::string_view> Read() override;

 private:
  struct Piece {
    int64_t offset = 0;
    std::span<char> bytes;
    bool is_started = false;  // In queue_.
  };

  // Starts to read the next piece, if it can be.
  void Begin();
  absl::Status Finish(const Piece& piece);

  const RandomAccess& access_;
  int64_t offset_;  // Of what is read next, and how much that is.
  int64_t left_;
  size_t depth_;
  PieceBuffers buffers_;
  std::deque<Piece> begun_;
  IoQueue queue_;  // Last: what is in flight ends first.
};

}  // namespace backup

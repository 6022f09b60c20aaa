#include "base/piece_buffers.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/low_priority_thread.h"
#include "base/status_macros.h"

namespace backup {
namespace {

size_t RoundUp(size_t size) {
  return (size + PieceBuffers::kAlignment - 1) / PieceBuffers::kAlignment *
         PieceBuffers::kAlignment;
}

}  // namespace

bool PieceBudget::TryTake(int64_t bytes) {
  if (taken_.fetch_add(bytes) + bytes <= max_bytes_) return true;
  taken_.fetch_sub(bytes);
  return false;
}

PieceBuffers::~PieceBuffers() { budget_.GiveBack(reserved_bytes_); }

char* PieceBuffers::Next() {
  if (piece_size_ == 0) ChooseSize();
  if (buffers_.size() < count_) {
    buffers_.push_back(TakeAlignedBuffer(RoundUp(piece_size_ + kSlack)));
    return buffers_.back().get();
  }
  return buffers_[next_++ % count_].get();
}

void PieceBuffers::ChooseSize() {
  if (expected_size_ && *expected_size_ <= static_cast<int64_t>(kSmallPieceSize)) {
    piece_size_ = RoundUp(static_cast<size_t>(*expected_size_) + 1);
    return;
  }
  piece_size_ = kSmallPieceSize;
  const int64_t wanted = static_cast<int64_t>(count_ * kPieceSize);
  if (!budget_.TryTake(wanted)) return;
  reserved_bytes_ = wanted;
  piece_size_ = kPieceSize;
}

absl::StatusOr<absl::string_view> GatherSource::Read() {
  char* const piece = buffers_.Next();
  ObservedPiece observed(observer_, piece);
  size_t filled = 0;
  while (!ended_ && filled < buffers_.piece_size()) {
    if (rest_.empty()) {
      ASSIGN_OR_RETURN(rest_, source_.Read());
      ended_ = rest_.empty();
    }
    const size_t wanted = std::min(buffers_.piece_size(), observed.limit()) - filled;
    const size_t taken = std::min(rest_.size(), wanted);
    if (taken > 0) std::memcpy(piece + filled, rest_.data(), taken);
    rest_.remove_prefix(taken);
    filled += taken;
    observed.Filled(filled);
  }
  observed.Finish(filled);
  return absl::string_view(piece, filled);
}

RangeSource::RangeSource(const RandomAccess& access, PieceBudget& budget, int64_t offset,
                         int64_t size_bytes, IoEngine* engine)
    : access_(access),
      offset_(offset),
      left_(size_bytes),
      depth_(size_bytes >= kLowPriorityMinSize ? std::min(access.read_depth(), IoQueue::kMaxDepth)
                                               : 1),
      buffers_(budget, size_bytes),
      queue_(engine) {
  MakeLast(0);
}

absl::StatusOr<absl::string_view> RangeSource::Read() {
  while (left_ > 0 && begun_.size() < depth_ && (begun_.empty() || begun_.back().is_started))
    Begin();
  if (begun_.empty()) return absl::string_view();
  const Piece piece = begun_.front();
  begun_.pop_front();
  RETURN_IF_ERROR(Finish(piece));
  return absl::string_view(piece.bytes.data(), piece.bytes.size());
}

void RangeSource::Begin() {
  char* const buffer = buffers_.Next();
  const int64_t size = std::min(left_, static_cast<int64_t>(buffers_.piece_size()));
  const std::span<char> bytes(buffer, static_cast<size_t>(size));
  begun_.push_back({offset_, bytes, depth_ > 1 && access_.TryStartReadAt(queue_, offset_, bytes)});
  offset_ += size;
  left_ -= size;
}

absl::Status RangeSource::Finish(const Piece& piece) {
  if (piece.is_started && queue_.Finish() == std::ssize(piece.bytes)) return absl::OkStatus();
  return access_.ReadAt(piece.offset, piece.bytes);
}

}  // namespace backup

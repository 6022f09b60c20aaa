#include "base/piece_buffers.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"

namespace backup {
namespace {

size_t RoundUp(size_t size) {
  return (size + PieceBuffers::kAlignment - 1) / PieceBuffers::kAlignment *
         PieceBuffers::kAlignment;
}

}  // namespace

bool PieceBudget::TryTake(int64_t bytes) {
  if (taken_.fetch_add(bytes) + bytes <= kMaxBytes) return true;
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
  size_t filled = 0;
  while (!ended_ && filled < buffers_.piece_size()) {
    if (rest_.empty()) {
      ASSIGN_OR_RETURN(rest_, source_.Read());
      ended_ = rest_.empty();
    }
    const size_t wanted = std::min(buffers_.piece_size() - filled, observer_ ? kHotSize : SIZE_MAX);
    const size_t taken = std::min(rest_.size(), wanted);
    if (taken > 0) std::memcpy(piece + filled, rest_.data(), taken);
    if (observer_) observer_(absl::string_view(piece + filled, taken));
    rest_.remove_prefix(taken);
    filled += taken;
  }
  return absl::string_view(piece, filled);
}

absl::StatusOr<absl::string_view> RangeSource::Read() {
  if (left_ == 0) return absl::string_view();
  char* const piece = buffers_.Next();
  const int64_t size = std::min(left_, static_cast<int64_t>(buffers_.piece_size()));
  RETURN_IF_ERROR(access_.ReadAt(offset_, std::span<char>(piece, static_cast<size_t>(size))));
  offset_ += size;
  left_ -= size;
  return absl::string_view(piece, static_cast<size_t>(size));
}

}  // namespace backup

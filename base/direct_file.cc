#include "base/direct_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "base/byte_stream.h"

namespace backup {
namespace {

constexpr size_t kBufferSize = kPieceSize;
static_assert(kBufferSize % kBufferAlignment == 0);
// What is smaller is rather copied behind what waits than written apart.
constexpr size_t kWorthAWrite = size_t{64} << 10;
// How far a file without allocated space grows until room is looked for again.
constexpr int64_t kRoomStep = 4 << 20;
static_assert(kRoomStep >= static_cast<int64_t>(kMaxPieceSize));

}  // namespace

bool DirectFile::Allocate(int64_t size_bytes) {
  // Asked for more than there is, fallocate() first takes all that is free, which others would
  // feel.
  if (!HasRoom(size_bytes)) return false;
  // With its size: file systems let only one write at a time make a file larger.
  if (!file_->Allocate(size_bytes)) return errno == EOPNOTSUPP;
  room_until_ = size_bytes;
  allocated_ = size_bytes;
  return true;
}

bool DirectFile::HasRoom(int64_t size_bytes) const {
  const std::optional<DiskSpace> disk = file_->Disk();
  if (!disk) return false;
  if (size_bytes + reserve_bytes_ < disk->free_bytes) return true;
  errno = ENOSPC;
  return false;
}

bool DirectFile::Write(absl::string_view piece) {
  ++pieces_;
  // A piece that is aligned as its place in the file is goes to the disk as it is.
  const bool is_aligned = filled_ % kBufferAlignment == 0 &&
                          reinterpret_cast<uintptr_t>(piece.data()) % kBufferAlignment == 0;
  if (is_aligned && (filled_ == 0 || piece.size() >= kWorthAWrite)) {
    if (filled_ > 0 && !WriteBuffer()) return false;
    const size_t size = piece.size() / kBufferAlignment * kBufferAlignment;
    if (!WriteOut(piece.substr(0, size), /*own=*/nullptr)) return false;
    piece.remove_prefix(size);
  }
  while (!piece.empty()) {
    if (buffer_ == nullptr) buffer_ = TakeAlignedBuffer(kBufferSize);
    const size_t taken = std::min(piece.size(), kBufferSize - filled_);
    std::memcpy(buffer_.get() + filled_, piece.data(), taken);
    filled_ += taken;
    piece.remove_prefix(taken);
    if (filled_ == kBufferSize && !WriteBuffer()) return false;
  }
  ReleasePieces();
  return HasNotFailed();
}

void DirectFile::LetPiecesLast(size_t pieces) {
  lasting_pieces_ = pieces;
  ReleasePieces();
}

void DirectFile::ReleasePieces() {
  const int64_t oldest = pieces_ - static_cast<int64_t>(lasting_pieces_);
  const auto is_due = [oldest](const InFlight& write) {
    return write.own == nullptr && write.piece <= oldest;
  };
  while (std::any_of(in_flight_.begin(), in_flight_.end(), is_due)) FinishOldest();
}

bool DirectFile::Skip(int64_t size_bytes) {
  ++pieces_;
  if (!HasNotFailed() || (filled_ > 0 && !WriteBuffer())) return false;
  if (offset_ < allocated_) {
    // Gives back what was allocated. Where that cannot be, it stays so and reads as zeros.
    if (!file_->PunchHole(offset_, size_bytes) && errno != EOPNOTSUPP) return false;
  }
  offset_ += size_bytes;
  ReleasePieces();
  return HasNotFailed();
}

bool DirectFile::Flush() {
  while (!in_flight_.empty()) FinishOldest();
  if (!HasNotFailed()) return false;
  if (filled_ % kBufferAlignment != 0 && !file_->UsePageCache()) return false;
  // Nothing may be in flight when this ends.
  const absl::string_view rest(buffer_.get(), std::exchange(filled_, 0));
  return WriteOut(rest, /*own=*/nullptr) && file_->SetSize(offset_);
}

bool DirectFile::Sync() { return file_->Sync(); }

bool DirectFile::HasNotFailed() const {
  if (error_ != 0) errno = error_;
  return error_ == 0;
}

bool DirectFile::WriteBuffer() {
  const absl::string_view bytes(buffer_.get(), std::exchange(filled_, 0));
  // Of what is small the buffer is kept: it is there sooner than another would be.
  return WriteOut(bytes, bytes.size() >= kWorthAWrite ? &buffer_ : nullptr);
}

bool DirectFile::KeepReserve(int64_t end) {
  if (reserve_bytes_ == 0 || end <= room_until_) return true;
  if (!HasRoom(kRoomStep)) return false;
  room_until_ = offset_ + kRoomStep;
  return true;
}

bool DirectFile::WriteOut(absl::string_view bytes, AlignedBuffer* own) {
  if (bytes.empty()) return HasNotFailed();
  if (!HasNotFailed() || !KeepReserve(offset_ + std::ssize(bytes))) return false;
  if (!TryStart(bytes, own) && !WriteNow(bytes, offset_)) return false;
  offset_ += std::ssize(bytes);
  return true;
}

bool DirectFile::TryStart(absl::string_view bytes, AlignedBuffer* own) {
  if (own == nullptr && (lasting_pieces_ == 0 || bytes.data() == buffer_.get())) return false;
  if (offset_ + std::ssize(bytes) > allocated_ || !file_->is_direct() || file_->descriptor() < 0)
    return false;
  if (in_flight_.size() == IoQueue::kMaxDepth) FinishOldest();
  if (!queue_.TryStart({IoOperation::Kind::kWrite, file_->descriptor(),
                        const_cast<char*>(bytes.data()), bytes.size(), offset_},
                       throttle_)) {
    return false;
  }
  in_flight_.push_back({bytes, offset_, own == nullptr ? nullptr : std::move(*own), pieces_});
  return true;
}

void DirectFile::FinishOldest() {
  const ssize_t result = queue_.Finish();
  const InFlight write = std::move(in_flight_.front());
  in_flight_.pop_front();
  // What did not go through is written once more, alone: that tells what is wrong, if anything is.
  const size_t written = result > 0 ? static_cast<size_t>(result) : 0;
  if (error_ == 0)
    WriteNow(write.bytes.substr(written), write.offset + static_cast<int64_t>(written));
}

bool DirectFile::WriteNow(absl::string_view bytes, int64_t offset) {
  while (!bytes.empty()) {
    const BulkTurn turn(throttle_);
    const ssize_t written = file_->WriteAt(offset, bytes);
    // Some file systems refuse direct writes only now.
    if (written < 0 && errno == EINVAL && file_->is_direct() && file_->UsePageCache()) continue;
    if (written <= 0) {
      error_ = written < 0 ? errno : EIO;
      return HasNotFailed();
    }
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return true;
}

}  // namespace backup

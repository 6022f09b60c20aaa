#include "bridge/upload/spooled_body.h"

#include <utility>

namespace backup::bridge {
namespace {

// What a kept piece takes beside its bytes, more or less: a slow client makes many small ones.
constexpr size_t kPieceOverhead = 128;

}  // namespace

bool SpoolBudget::Take(size_t size_bytes) {
  used_gauge_.Add(static_cast<double>(size_bytes));
  return used_bytes_.fetch_add(size_bytes) + size_bytes <= total_bytes_;
}

void SpoolBudget::GiveBack(size_t size_bytes) {
  used_gauge_.Add(-static_cast<double>(size_bytes));
  used_bytes_.fetch_sub(size_bytes);
}

absl::StatusOr<SharedPiece> SpooledBody::Read() {
  if (replay_at_ < spool_.size()) return spool_[replay_at_++];
  const absl::StatusOr<absl::string_view> bytes = source_.Read();
  status_ = bytes.status();
  if (!bytes.ok()) return status_;
  if (bytes->empty()) return SharedPiece();
  SharedPiece piece = source_.Share(*bytes);
  if (fits_) Keep(piece);
  return piece;
}

void SpooledBody::Keep(const SharedPiece& piece) {
  size_bytes_ += piece.bytes.size();
  fits_ = size_bytes_ <= limit_ && Take(piece.buffer_size + kPieceOverhead);
  if (fits_) {
    spool_.push_back(piece);
  } else {
    spool_.clear();
    spool_.shrink_to_fit();
    budget_.GiveBack(std::exchange(taken_bytes_, 0));
  }
  replay_at_ = spool_.size();
}

bool SpooledBody::Take(size_t size_bytes) {
  taken_bytes_ += size_bytes;
  return budget_.Take(size_bytes);
}

}  // namespace backup::bridge

#include "storage/s3/memory_bound.h"

#include <algorithm>
#include <chrono>

namespace backup::storage::s3 {

bool MemoryBound::Take(int64_t bytes, absl::Duration patience, For purpose) {
  const auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(patience);
  MutexLock lock(mutex_);
  const bool begins = purpose == For::kBeginning;
  std::list<int64_t>& queue = begins ? beginning_ : going_on_;
  const int64_t bound = begins ? max_bytes_ - reserve_bytes_ : max_bytes_;
  const auto turn = queue.insert(queue.end(), bytes);
  bool is_there = false;
  while (true) {
    const bool has_turn = turn == queue.begin() && (!begins || going_on_.empty());
    is_there = has_turn && taken_ + bytes <= bound;
    const absl::Duration left = absl::FromChrono(deadline - std::chrono::steady_clock::now());
    if (is_there || left <= absl::ZeroDuration()) break;
    changed_.WaitFor(mutex_, left);
  }
  queue.erase(turn);
  changed_.NotifyAll();
  if (!is_there) return false;
  taken_ += bytes;
  most_ = std::max(most_, taken_);
  gauge_.Add(static_cast<double>(bytes));
  return true;
}

void MemoryBound::TakeAnyway(int64_t bytes) {
  MutexLock lock(mutex_);
  taken_ += bytes;
  most_ = std::max(most_, taken_);
  gauge_.Add(static_cast<double>(bytes));
}

void MemoryBound::GiveBack(int64_t bytes) {
  if (bytes == 0) return;
  MutexLock lock(mutex_);
  taken_ -= bytes;
  gauge_.Add(-static_cast<double>(bytes));
  changed_.NotifyAll();
}

int64_t MemoryBound::most() const {
  MutexLock lock(mutex_);
  return most_;
}

}  // namespace backup::storage::s3

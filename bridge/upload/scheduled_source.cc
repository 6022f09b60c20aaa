#include "bridge/upload/scheduled_source.h"

#include <utility>

namespace backup::bridge {

absl::StatusOr<absl::string_view> ScheduledSource::Read() {
  AcquireSlotIfDue();
  absl::StatusOr<absl::string_view> piece = source_.Read();
  reading_ += Lap();
  if (piece.ok()) left_ -= static_cast<int64_t>(piece->size());
  return piece;
}

void ScheduledSource::AcquireSlotIfDue() {
  sending_ += Lap();
  const bool waits_for_client = reading_ > sending_;
  if (left_ <= 0 || (waits_for_client && left_ <= kShare - kSample)) ReleaseSlot();
  if (left_ > 0) return;
  if (!waits_for_client) slot_ = scheduler_.Acquire();
  left_ = slot_ ? kShare : kSample;
  reading_ = sending_ = {};
  mark_ = now_();
}

void ScheduledSource::ReleaseSlot() {
  if (slot_) scheduler_.Release(*std::exchange(slot_, std::nullopt));
}

MonotonicClock::duration ScheduledSource::Lap() {
  const MonotonicTime now = now_();
  return now - std::exchange(mark_, now);
}

}  // namespace backup::bridge

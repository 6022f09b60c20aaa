#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/byte_stream.h"
#include "base/low_priority_thread.h"
#include "bridge/net/connection.h"
#include "bridge/upload/upload_scheduler.h"

namespace backup::bridge {

// Another source, which is one upload among those that an UploadScheduler lets go on: what was read
// of it counts as sent when the next piece is read. It takes a slot if it is large, and while it
// waits less for its client than for the service: a client that is the slower of both gains nothing
// by a slot, and must neither wait for one nor keep one from others. Used by one thread at a time.
class ScheduledSource final : public ByteSource {
 public:
  // What is sent in a slot: several times what waits in the sockets' buffers when it begins, which
  // is in no cache any more.
  static constexpr int64_t kShare = int64_t{32} << 20;
  // How much of it shows who waits for whom.
  static constexpr int64_t kSample = int64_t{2} << 20;

  // Of `announced_size` bytes; 0 if that is not known. Scheduler and source must outlive this.
  ScheduledSource(UploadScheduler& scheduler, ByteSource& source, int64_t announced_size,
                  std::function<MonotonicTime()> now = &MonotonicClock::now)
      : scheduler_(scheduler),
        source_(source),
        now_(std::move(now)),
        left_(announced_size < kLowPriorityMinSize ? kLowPriorityMinSize : kSample),
        mark_(now_()) {}
  ~ScheduledSource() override { ReleaseSlot(); }
  ScheduledSource(const ScheduledSource&) = delete;
  ScheduledSource& operator=(const ScheduledSource&) = delete;

  // Waits for a slot where one is due.
  absl::StatusOr<absl::string_view> Read() override;
  SharedPiece Share(absl::string_view piece) override { return source_.Share(piece); }

 private:
  void AcquireSlotIfDue();
  void ReleaseSlot();
  // How long since the last call.
  MonotonicClock::duration Lap();

  UploadScheduler& scheduler_;
  ByteSource& source_;
  const std::function<MonotonicTime()> now_;
  std::optional<UploadScheduler::Slot> slot_;
  int64_t left_;  // Of the share that is sent in the present slot, or until one may be due.
  MonotonicTime mark_;
  MonotonicClock::duration reading_{};  // In the present share.
  MonotonicClock::duration sending_{};
};

}  // namespace backup::bridge

#include "bridge/upload/scheduled_source.h"

#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/metrics.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

constexpr absl::Duration kNever = absl::Hours(1);

// An upload in pieces of 1 MiB, each of which takes `reading` to read and `sending` to send.
class FakeUpload final : public ByteSource {
 public:
  FakeUpload(UploadScheduler& scheduler, int64_t announced_size, absl::Duration reading,
             absl::Duration sending)
      : scheduled_(scheduler, *this, announced_size, [this] { return now_; }) {
    set_times(reading, sending);
  }

  void set_times(absl::Duration reading, absl::Duration sending) {
    reading_ = absl::ToChronoNanoseconds(reading);
    sending_ = absl::ToChronoNanoseconds(sending);
  }
  void Send(int64_t size_bytes) {
    for (int64_t sent = 0; sent < size_bytes; sent += kPieceSize) {
      EXPECT_OK(scheduled_.Read());
      now_ += sending_;
    }
  }
  absl::StatusOr<absl::string_view> Read() override {
    now_ += reading_;
    return piece_;
  }

 private:
  const std::string piece_ = std::string(kPieceSize, 'x');
  MonotonicClock::duration reading_;
  MonotonicClock::duration sending_;
  MonotonicTime now_;
  ScheduledSource scheduled_;
};

class ScheduledSourceTest : public ::testing::Test {
 protected:
  static constexpr int64_t kSmall = kLowPriorityMinSize - kPieceSize;
  static constexpr int64_t kLarge = kLowPriorityMinSize;

  // Waits for ever unless a slot is free or becomes so.
  void TakeSlot() { scheduler_.Release(scheduler_.Acquire()); }
  // CTest has the deadline.
  void AwaitWaiting(size_t count) const {
    while (!absl::StrContains(metrics_.Text(), absl::StrCat("\nwaiting ", count, "\n")))
      std::this_thread::yield();
  }

  Metrics metrics_;
  UploadScheduler scheduler_{{1, kNever, kNever}, metrics_.AddGauge({"waiting", "Uploads"})};
  FakeUpload fast_{scheduler_, kLarge, absl::Milliseconds(1), absl::Milliseconds(2)};
  FakeUpload slow_{scheduler_, kLarge, absl::Milliseconds(2), absl::Milliseconds(1)};
};

TEST_F(ScheduledSourceTest, ALargeUploadTakesASlotAfterASample) {
  const UploadScheduler::Slot others = scheduler_.Acquire();
  fast_.Send(ScheduledSource::kSample);
  std::jthread body([&] { fast_.Send(kPieceSize); });
  AwaitWaiting(1);
  scheduler_.Release(others);
}

TEST_F(ScheduledSourceTest, ASmallUploadTakesNone) {
  scheduler_.Acquire();
  FakeUpload(scheduler_, kSmall, absl::Milliseconds(1), absl::Milliseconds(2)).Send(kSmall);
}

TEST_F(ScheduledSourceTest, AnUploadOfUnknownSizeTakesOneOnceItIsLarge) {
  const UploadScheduler::Slot others = scheduler_.Acquire();
  FakeUpload unknown(scheduler_, 0, absl::Milliseconds(1), absl::Milliseconds(2));
  unknown.Send(kLowPriorityMinSize);
  std::jthread rest([&] { unknown.Send(kPieceSize); });
  AwaitWaiting(1);
  scheduler_.Release(others);
}

TEST_F(ScheduledSourceTest, ASlotIsReleasedAfterItsShare) {
  fast_.Send(ScheduledSource::kSample + ScheduledSource::kShare);
  std::jthread other([&] { TakeSlot(); });
  AwaitWaiting(1);
  fast_.Send(kPieceSize);
}

TEST_F(ScheduledSourceTest, ASlotIsReleasedWithItsUpload) {
  FakeUpload(scheduler_, kLarge, absl::Milliseconds(1), absl::Milliseconds(2))
      .Send(ScheduledSource::kSample + kPieceSize);
  TakeSlot();
}

TEST_F(ScheduledSourceTest, AnUploadThatWaitsForItsClientTakesNone) {
  scheduler_.Acquire();
  slow_.Send(2 * ScheduledSource::kShare);
}

TEST_F(ScheduledSourceTest, AnUploadThatHasBecomeSlowGivesItsSlotBack) {
  fast_.Send(ScheduledSource::kSample + kPieceSize);
  fast_.set_times(absl::Milliseconds(3), absl::Milliseconds(1));
  fast_.Send(ScheduledSource::kSample);
  scheduler_.Acquire();
  fast_.Send(ScheduledSource::kShare);
}

TEST_F(ScheduledSourceTest, AnUploadThatHasBecomeFastTakesSlotsAgain) {
  slow_.Send(ScheduledSource::kSample);
  slow_.set_times(absl::Milliseconds(1), absl::Milliseconds(2));
  slow_.Send(ScheduledSource::kSample);
  const UploadScheduler::Slot others = scheduler_.Acquire();
  std::jthread body([&] { slow_.Send(kPieceSize); });
  AwaitWaiting(1);
  scheduler_.Release(others);
}

}  // namespace
}  // namespace backup::bridge

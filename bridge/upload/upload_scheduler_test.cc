#include "bridge/upload/upload_scheduler.h"

#include <chrono>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/metrics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::testing::ElementsAre;

constexpr absl::Duration kNever = absl::Hours(1);
constexpr absl::Duration kSoon = absl::Milliseconds(1);

class UploadSchedulerTest : public ::testing::Test {
 protected:
  UploadScheduler Make(const UploadScheduler::Limits& limits) { return {limits, gauge_}; }
  // CTest has the deadline.
  void AwaitWaiting(size_t count) const {
    while (!absl::StrContains(metrics_.Text(), absl::StrCat("\nwaiting ", count, "\n")))
      std::this_thread::yield();
  }

  Metrics metrics_;
  const Gauge gauge_ = metrics_.AddGauge({"waiting", "Uploads"});
};

TEST_F(UploadSchedulerTest, ASlotThatIsReleasedGoesToWhoeverCameFirst) {
  UploadScheduler scheduler = Make({2, kNever, kNever});
  const UploadScheduler::Slot first = scheduler.Acquire();
  scheduler.Acquire();
  std::vector<int> begun;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&scheduler, &begun, i] {
      const UploadScheduler::Slot slot = scheduler.Acquire();
      begun.push_back(i);  // Alone: one of two slots is never free.
      scheduler.Release(slot);
    });
    AwaitWaiting(threads.size());
  }
  EXPECT_THAT(begun, ElementsAre());
  scheduler.Release(first);
  threads.clear();
  EXPECT_THAT(begun, ElementsAre(0, 1, 2));
}

TEST_F(UploadSchedulerTest, NobodyWaitsForASlotThatIsHeldTooLong) {
  UploadScheduler scheduler = Make({1, kSoon, kNever});
  const UploadScheduler::Slot stuck = scheduler.Acquire();
  scheduler.Release(scheduler.Acquire());
  scheduler.Release(stuck);
  scheduler.Release(scheduler.Acquire());
}

TEST_F(UploadSchedulerTest, NobodyWaitsForTooLong) {
  UploadScheduler scheduler = Make({1, kNever, kSoon});
  scheduler.Acquire();
  scheduler.Acquire();
  scheduler.Acquire();
}

}  // namespace
}  // namespace backup::bridge

#include "base/idle_shutdown.h"

#include <optional>

#include "absl/time/time.h"
#include "base/process.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

constexpr absl::Duration kGenerous = absl::Seconds(60);
constexpr absl::Duration kShort = absl::Milliseconds(100);

TEST(IdleShutdown, RequestsAStopWhenNothingHappens) {
  StopRequest stop;
  const IdleShutdown idle(kShort, stop);
  ASSERT_TRUE(stop.WaitFor(kGenerous));
  EXPECT_EQ(stop.Wait(), "idle for 100ms");
}

TEST(IdleShutdown, WaitsForTheEndOfWhatIsActive) {
  StopRequest stop;
  IdleShutdown idle(absl::Seconds(1), stop);
  std::optional<IdleShutdown::Activity> first(std::in_place, idle);
  std::optional<IdleShutdown::Activity> second(std::in_place, idle);
  first.reset();
  EXPECT_FALSE(stop.WaitFor(absl::Seconds(2)));  // The second is still active.
  second.reset();
  EXPECT_TRUE(stop.WaitFor(kGenerous));
}

TEST(IdleShutdown, IsTurnedOffByZero) {
  StopRequest stop;
  IdleShutdown idle(absl::ZeroDuration(), stop);
  { const IdleShutdown::Activity activity(idle); }
  EXPECT_FALSE(stop.WaitFor(kShort));
}

TEST(IdleShutdown, EndsWithoutAStopWhenItIsDestroyed) {
  StopRequest stop;
  { const IdleShutdown idle(absl::Hours(1), stop); }
  EXPECT_FALSE(stop.requested());
}

TEST(StopRequest, KeepsTheFirstReason) {
  StopRequest stop;
  EXPECT_FALSE(stop.requested());
  stop.Request("first");
  stop.Request("second");
  EXPECT_TRUE(stop.requested());
  EXPECT_EQ(stop.Wait(), "first");
}

}  // namespace
}  // namespace backup

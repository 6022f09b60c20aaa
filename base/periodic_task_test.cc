#include "base/periodic_task.h"

#include <atomic>
#include <chrono>
#include <latch>
#include <stop_token>
#include <thread>

#include "gtest/gtest.h"

namespace backup {
namespace {

using FirstRun = PeriodicTask::FirstRun;

constexpr absl::Duration kNever = absl::Hours(1);

TEST(WaitFor, IsTrueAfterTheTime) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(WaitFor(std::stop_source().get_token(), absl::Milliseconds(20)));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(20));
}

TEST(WaitFor, EndsAtOnceWhenItIsToldToStop) {
  std::stop_source stop;
  std::atomic<bool> waited = true;
  {
    const std::jthread waiter(
        [&] { waited = WaitFor(stop.get_token(), absl::InfiniteDuration()); });
    stop.request_stop();
  }
  EXPECT_FALSE(waited);
}

TEST(WaitFor, DoesNotWaitIfItWasToldToStopBefore) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(WaitFor(stop.get_token(), kNever));
}

TEST(PeriodicTask, RunsAgainAndAgain) {
  std::atomic<int> runs = 0;
  std::latch thrice(3);
  const PeriodicTask task(absl::Milliseconds(1), [&](const std::stop_token&) {
    if (++runs <= 3) thrice.count_down();
  });
  thrice.wait();
}

TEST(PeriodicTask, WaitsBeforeTheFirstRunUnlessToldOtherwise) {
  std::atomic<int> runs = 0;
  {
    const PeriodicTask task(kNever, [&](const std::stop_token&) { ++runs; });
  }
  EXPECT_EQ(runs, 0);
}

TEST(PeriodicTask, RunsAtOnceIfToldSo) {
  std::latch ran(1);
  const PeriodicTask task(
      kNever, [&](const std::stop_token&) { ran.count_down(); }, FirstRun::kAtOnce);
  ran.wait();
}

TEST(PeriodicTask, RunsAtOnceWhenItIsWoken) {
  std::latch ran(1);
  PeriodicTask task(kNever, [&](const std::stop_token&) { ran.count_down(); });
  task.Wake();
  ran.wait();
}

TEST(PeriodicTask, RunsOnceMoreWhenItIsWokenDuringARun) {
  std::latch first_runs(1);
  std::latch woken(1);
  std::latch second_ran(1);
  std::atomic<int> runs = 0;
  PeriodicTask task(kNever, [&](const std::stop_token&) {
    if (++runs == 2) return second_ran.count_down();
    first_runs.count_down();
    woken.wait();
  });
  task.Wake();
  first_runs.wait();
  task.Wake();
  task.Wake();
  woken.count_down();
  second_ran.wait();
}

TEST(PeriodicTask, TellsWorkThatIsGoingOnToStop) {
  std::latch runs(1);
  std::atomic<bool> waited = true;
  {
    PeriodicTask task(kNever, [&](const std::stop_token& token) {
      runs.count_down();
      waited = WaitFor(token, kNever);
    });
    task.Wake();
    runs.wait();
  }
  EXPECT_FALSE(waited);
}

}  // namespace
}  // namespace backup

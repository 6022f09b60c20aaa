#include "base/worker_pool.h"

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/low_priority_thread.h"
#include "base/start_thread.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

TEST(WorkerPool, RunsEverythingBeforeItEnds) {
  std::atomic<int> done = 0;
  {
    WorkerPool pool(3, absl::Seconds(10));
    for (int i = 0; i < 1000; ++i) pool.Submit([&] { ++done; });
  }
  EXPECT_EQ(done, 1000);
}

TEST(WorkerPool, RunsAsManyAtOnceAsItMay) {
  constexpr int kThreads = 8;
  std::latch all_run(kThreads);
  WorkerPool pool(kThreads, absl::Seconds(10));
  for (int i = 0; i < kThreads; ++i) pool.Submit([&] { all_run.arrive_and_wait(); });
  all_run.wait();
}

TEST(WorkerPool, NeverRunsMoreAtOnceThanItMay) {
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  {
    WorkerPool pool(2, absl::Seconds(10));
    for (int i = 0; i < 200; ++i) {
      pool.Submit([&] {
        const int now = ++running;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        std::this_thread::yield();
        --running;
      });
    }
  }
  EXPECT_LE(most, 2);
}

TEST(WorkerPool, GoesOnAfterItsThreadsHaveEnded) {
  WorkerPool pool(2, absl::ZeroDuration());
  for (int i = 0; i < 100; ++i) {
    std::latch done(1);
    pool.Submit([&] { done.count_down(); });
    done.wait();
  }
}

TEST(WorkerPool, LetsNoOtherWorkRunOnALowPriorityThread) {
  WorkerPool pool(100, absl::Seconds(10));
  for (int i = 0; i < 100; ++i) {
    bool was_low_priority = true;
    std::latch done(1);
    pool.Submit([&] {
      was_low_priority = IsLowPriority();
      BecomeLowPriority();
      done.count_down();
    });
    done.wait();
    EXPECT_FALSE(was_low_priority);
  }
}

TEST(WorkerPool, WorkThatFindsOnlyALowPriorityThreadIsDoneByIt) {
  std::atomic<int> done = 0;
  {
    WorkerPool pool(1, absl::Seconds(10));
    for (int i = 0; i < 100; ++i) {
      pool.Submit([&] {
        BecomeLowPriority();
        ++done;
      });
    }
  }
  EXPECT_EQ(done, 100);
}

// Has no room for the first `failures` threads.
ThreadStarter StarterThatFails(int failures) {
  return [left = std::make_shared<std::atomic<int>>(failures)](std::function<void()> body) {
    return (*left)-- > 0 ? std::nullopt : TryStartThread(std::move(body));
  };
}

TEST(WorkerPool, RunsATaskForWhichThereWasNoRoomForAThreadAtFirst) {
  std::latch done(1);
  WorkerPool pool(2, absl::Seconds(10), StarterThatFails(3));
  pool.Submit([&] { done.count_down(); });
  done.wait();  // Without another Submit().
}

TEST(WorkerPool, RunsATaskWhoseThreadWasMissingWhileTheOthersAreBusy) {
  std::latch first_runs(1);
  std::latch second_done(1);
  std::atomic<int> made = 0;
  WorkerPool pool(2, absl::Seconds(10), [&](std::function<void()> body) {
    return ++made == 2 ? std::nullopt : TryStartThread(std::move(body));
  });
  pool.Submit([&] {
    first_runs.count_down();
    second_done.wait();
  });
  first_runs.wait();
  pool.Submit([&] { second_done.count_down(); });
  second_done.wait();
}

TEST(WorkerPool, RunsWhatWaitsForAThreadBeforeItEnds) {
  std::atomic<int> done = 0;
  {
    WorkerPool pool(2, absl::Seconds(10), StarterThatFails(3));
    pool.Submit([&] { ++done; });
  }
  EXPECT_EQ(done, 1);
}

}  // namespace
}  // namespace backup

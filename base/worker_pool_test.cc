#include "base/worker_pool.h"

#include <atomic>
#include <latch>
#include <set>

#include "base/bulk_thread.h"
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

TEST(WorkerPool, LetsNoOtherWorkRunOnABulkThread) {
  WorkerPool pool(100, absl::Seconds(10));
  for (int i = 0; i < 100; ++i) {
    bool was_bulk = true;
    std::latch done(1);
    pool.Submit([&] {
      was_bulk = IsBulkThread();
      BecomeBulkThread();
      done.count_down();
    });
    done.wait();
    EXPECT_FALSE(was_bulk);
  }
}

TEST(WorkerPool, WorkThatFindsOnlyABulkThreadIsDoneByIt) {
  std::atomic<int> done = 0;
  {
    WorkerPool pool(1, absl::Seconds(10));
    for (int i = 0; i < 100; ++i) {
      pool.Submit([&] {
        BecomeBulkThread();
        ++done;
      });
    }
  }
  EXPECT_EQ(done, 100);
}

}  // namespace
}  // namespace backup

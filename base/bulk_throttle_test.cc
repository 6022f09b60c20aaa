#include "base/bulk_throttle.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using std::chrono::milliseconds;

constexpr absl::Duration kAlone = absl::Milliseconds(2);

// A disk on which commits take as long as bulk lets them, and a clock that is moved by hand.
class BulkLimitTest : public ::testing::Test {
 protected:
  // Commits, one every 5 ms, as long as they take while `wanted` operations would be in flight.
  void Run(absl::Duration duration, int wanted, absl::Duration for_each_in_flight) {
    for (absl::Duration passed; passed < duration; passed += absl::Milliseconds(5)) {
      now_ += milliseconds(5);
      const double in_flight = std::min<double>(limit_.At(now_), wanted);
      limit_.OnCommit(now_, kAlone + in_flight * for_each_in_flight,
                      wanted == 0 ? 0 : std::max(1, static_cast<int>(in_flight)));
      lowest_ = std::min(lowest_, limit_.At(now_));
    }
  }

  BulkLimit limit_;
  BulkLimit::Time now_ = BulkLimit::Time(std::chrono::hours(1));
  double lowest_ = BulkLimit::kMax;
};

TEST_F(BulkLimitTest, NothingLimitsBulkWithoutCommits) {
  EXPECT_EQ(limit_.At(now_), BulkLimit::kMax);
}

TEST_F(BulkLimitTest, BulkGivesWayUntilCommitsTakeTwiceAsLong) {
  Run(absl::Seconds(1), 0, absl::ZeroDuration());
  Run(absl::Seconds(20), 8, absl::Milliseconds(1));
  // Two in flight make a commit take 4 ms instead of 2.
  Run(absl::Seconds(20), 8, absl::Milliseconds(1));
  EXPECT_GT(limit_.At(now_), 1);
  EXPECT_LT(limit_.At(now_), 3);
}

TEST_F(BulkLimitTest, TakesPartOfTheTimeIfOneInFlightIsTooMuch) {
  Run(absl::Seconds(1), 0, absl::ZeroDuration());
  Run(absl::Seconds(30), 8, absl::Milliseconds(4));
  EXPECT_GT(limit_.At(now_), 0.2);
  EXPECT_LT(limit_.At(now_), 0.8);
}

TEST_F(BulkLimitTest, NeverGoesBelowTheFloor) {
  Run(absl::Seconds(1), 0, absl::ZeroDuration());
  Run(absl::Seconds(30), 8, absl::Seconds(1));
  EXPECT_EQ(lowest_, BulkLimit::kFloor);
}

TEST_F(BulkLimitTest, LearnsWhatCommitsTakeAloneWhileBulkNeverEnds) {
  Run(absl::Seconds(40), 8, absl::Milliseconds(4));
  EXPECT_LT(limit_.At(now_), 0.8);
}

TEST_F(BulkLimitTest, DoesNotSlowDownBulkThatIsNotWhatMakesCommitsSlow) {
  Run(absl::Seconds(30), 8, absl::ZeroDuration());
  EXPECT_GE(limit_.At(now_), BulkLimit::kMax - 1);
}

TEST_F(BulkLimitTest, DoesNotSlowDownBulkForCommitsThatAreRare) {
  for (int i = 0; i < 200; ++i) {
    now_ += milliseconds(250);
    limit_.OnCommit(now_, absl::Milliseconds(50), 8);
    EXPECT_EQ(limit_.At(now_), BulkLimit::kMax) << i;
  }
}

TEST_F(BulkLimitTest, DoesNotWaitForCommitsThatDoNotComeToMeasureThem) {
  Run(absl::Milliseconds(110), 8, absl::ZeroDuration());
  ASSERT_EQ(limit_.At(now_), BulkLimit::kFloor);
  now_ += absl::ToChronoMilliseconds(BulkLimit::kMaxIdle + absl::Milliseconds(1));
  EXPECT_EQ(limit_.At(now_), BulkLimit::kMax);
}

TEST_F(BulkLimitTest, CommitsThatAreFastEnoughAreLeftAlone) {
  for (int i = 0; i < 10000; ++i) {
    now_ += milliseconds(5);
    const bool has_bulk = i > 200 && limit_.At(now_) >= 1;
    limit_.OnCommit(now_, has_bulk ? absl::Microseconds(900) : absl::Microseconds(100),
                    has_bulk ? 4 : 0);
  }
  EXPECT_GE(limit_.At(now_), BulkLimit::kMax - 1);
}

TEST_F(BulkLimitTest, FollowsADiskThatBecomesSlower) {
  Run(absl::Seconds(1), 0, absl::ZeroDuration());
  Run(absl::Seconds(60), 8, absl::Milliseconds(1));
  for (int i = 0; i < 60'000 / 5; ++i) {
    now_ += milliseconds(5);
    limit_.OnCommit(now_, absl::Milliseconds(20), 4);  // With bulk and without.
  }
  EXPECT_GT(limit_.At(now_), 8);
}

TEST_F(BulkLimitTest, BulkIsFreeAgainSoonAfterTheLastCommit) {
  Run(absl::Seconds(1), 0, absl::ZeroDuration());
  Run(absl::Seconds(10), 8, absl::Seconds(1));
  now_ += absl::ToChronoNanoseconds(BulkLimit::kQuiet);
  EXPECT_EQ(limit_.At(now_), BulkLimit::kMax);
}

TEST_F(BulkLimitTest, CommitsThatTakeLongerThanTheQuietAreNoQuiet) {
  Run(absl::Seconds(1), 0, absl::ZeroDuration());
  for (int i = 0; i < 20; ++i) {
    const absl::Duration took = limit_.At(now_) > 1 ? absl::Seconds(3) : kAlone;
    now_ += absl::ToChronoNanoseconds(took);
    limit_.OnCommit(now_, took, 8);
  }
  EXPECT_LT(limit_.At(now_), BulkLimit::kMax);
}

TEST(BulkThrottleTest, LetsAllBeginWithoutCommits) {
  BulkThrottle throttle;
  std::vector<BulkThrottle::Ticket> tickets;
  for (int i = 0; i < static_cast<int>(BulkLimit::kMax); ++i) tickets.push_back(throttle.Begin());
  for (const BulkThrottle::Ticket& ticket : tickets) throttle.End(ticket);
}

TEST(BulkThrottleTest, HoldsBackWhatWouldSlowCommitsDown) {
  const auto commit_for = [](BulkThrottle& throttle, absl::Duration time, absl::Duration took) {
    const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(time);
    while (std::chrono::steady_clock::now() < end) {
      throttle.OnCommit(took);
      std::this_thread::yield();
    }
  };
  BulkThrottle throttle;
  commit_for(throttle, 3 * BulkLimit::kWindow, absl::ZeroDuration());
  const BulkThrottle::Ticket first = throttle.Begin();
  commit_for(throttle, 20 * BulkLimit::kWindow, absl::Seconds(1));  // From 64 to below 1.
  std::atomic<bool> has_begun = false;
  std::jthread second([&] {
    const BulkTurn turn(&throttle);
    has_begun = true;
  });
  commit_for(throttle, 3 * BulkLimit::kWindow, absl::Seconds(1));
  EXPECT_FALSE(has_begun);
  throttle.End(first);
  second.join();
  EXPECT_TRUE(has_begun);
}

TEST(BulkThrottleTest, NeitherBulkNorCommitsStarveHoweverSlowCommitsAre) {
  BulkThrottle throttle;
  std::atomic<bool> is_done = false;
  std::jthread commits([&] {
    while (!is_done) throttle.OnCommit(absl::Seconds(1));
  });
  std::vector<std::jthread> bulk;
  std::atomic<int> in_flight = 0;
  std::atomic<int> most = 0;
  for (int i = 0; i < 8; ++i) {
    bulk.emplace_back([&] {
      for (int n = 0; n < 200; ++n) {
        const BulkTurn turn(&throttle);
        const int now = ++in_flight;
        if (now > most) most = now;
        --in_flight;
      }
    });
  }
  bulk.clear();
  is_done = true;
  EXPECT_GT(most, 0);
}

}  // namespace
}  // namespace backup

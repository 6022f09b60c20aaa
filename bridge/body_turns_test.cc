#include "bridge/body_turns.h"

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

class BodyTurnsTest : public ::testing::Test {
 protected:
  BodyTurns Make(const BodyTurns::Limits& limits) { return {limits, gauge_}; }
  // CTest has the deadline.
  void AwaitWaiting(size_t count) const {
    while (!absl::StrContains(metrics_.Text(), absl::StrCat("\nwaiting ", count, "\n")))
      std::this_thread::yield();
  }

  Metrics metrics_;
  const Gauge gauge_ = metrics_.AddGauge({"waiting", "Bodies"});
};

TEST_F(BodyTurnsTest, TheNextBeginsWhenOneEndsInTheOrderInWhichTheyCame) {
  BodyTurns turns = Make({2, kNever, kNever});
  const BodyTurns::Turn first = turns.Begin();
  turns.Begin();
  std::vector<int> begun;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&turns, &begun, i] {
      const BodyTurns::Turn turn = turns.Begin();
      begun.push_back(i);  // Alone: one of two turns never ends.
      turns.End(turn);
    });
    AwaitWaiting(threads.size());
  }
  EXPECT_THAT(begun, ElementsAre());
  turns.End(first);
  threads.clear();
  EXPECT_THAT(begun, ElementsAre(0, 1, 2));
}

TEST_F(BodyTurnsTest, NobodyWaitsForATurnThatTakesTooLong) {
  BodyTurns turns = Make({1, kSoon, kNever});
  const BodyTurns::Turn stuck = turns.Begin();
  turns.End(turns.Begin());
  turns.End(stuck);
  turns.End(turns.Begin());
}

TEST_F(BodyTurnsTest, NobodyWaitsForTooLong) {
  BodyTurns turns = Make({1, kNever, kSoon});
  turns.Begin();
  turns.Begin();
  turns.Begin();
}

// A body of which the pieces of 1 MiB take `reading` to read and `sending` to send.
class FakeBody {
 public:
  FakeBody(BodyTurns& turns, int64_t announced_size, absl::Duration reading, absl::Duration sending)
      : pace_(turns, announced_size, [this] { return now_; }) {
    set_times(reading, sending);
  }

  void set_times(absl::Duration reading, absl::Duration sending) {
    reading_ = absl::ToChronoNanoseconds(reading);
    sending_ = absl::ToChronoNanoseconds(sending);
  }
  void Send(int64_t size_bytes) {
    for (int64_t sent = 0; sent < size_bytes; sent += kPieceSize) {
      pace_.BeforeRead();
      now_ += reading_;
      pace_.AfterRead(kPieceSize);
      now_ += sending_;
    }
  }

 private:
  MonotonicClock::duration reading_;
  MonotonicClock::duration sending_;
  MonotonicTime now_;
  BodyPace pace_;
};

class BodyPaceTest : public BodyTurnsTest {
 protected:
  static constexpr int64_t kSmall = kBulkMinSize - kPieceSize;
  static constexpr int64_t kLarge = kBulkMinSize;

  // Waits for ever unless a turn is free or becomes so.
  void TakeTurn() { turns_.End(turns_.Begin()); }

  BodyTurns turns_ = Make({1, kNever, kNever});
  FakeBody fast_{turns_, kLarge, absl::Milliseconds(1), absl::Milliseconds(2)};
  FakeBody slow_{turns_, kLarge, absl::Milliseconds(2), absl::Milliseconds(1)};
};

TEST_F(BodyPaceTest, ALargeBodyTakesATurnAfterASample) {
  const BodyTurns::Turn others = turns_.Begin();
  fast_.Send(BodyPace::kSample);
  std::jthread body([&] { fast_.Send(kPieceSize); });
  AwaitWaiting(1);
  turns_.End(others);
}

TEST_F(BodyPaceTest, ASmallBodyTakesNone) {
  turns_.Begin();
  FakeBody(turns_, kSmall, absl::Milliseconds(1), absl::Milliseconds(2)).Send(kSmall);
}

TEST_F(BodyPaceTest, ABodyOfUnknownSizeTakesOneOnceItIsLarge) {
  const BodyTurns::Turn others = turns_.Begin();
  FakeBody unknown(turns_, 0, absl::Milliseconds(1), absl::Milliseconds(2));
  unknown.Send(kBulkMinSize);
  std::jthread rest([&] { unknown.Send(kPieceSize); });
  AwaitWaiting(1);
  turns_.End(others);
}

TEST_F(BodyPaceTest, ATurnEndsAfterItsShare) {
  fast_.Send(BodyPace::kSample + BodyPace::kShare);
  std::jthread other([&] { TakeTurn(); });
  AwaitWaiting(1);
  fast_.Send(kPieceSize);
}

TEST_F(BodyPaceTest, ATurnEndsWithItsBody) {
  FakeBody(turns_, kLarge, absl::Milliseconds(1), absl::Milliseconds(2))
      .Send(BodyPace::kSample + kPieceSize);
  TakeTurn();
}

TEST_F(BodyPaceTest, ABodyThatWaitsForItsClientTakesNone) {
  turns_.Begin();
  slow_.Send(2 * BodyPace::kShare);
}

TEST_F(BodyPaceTest, ABodyThatHasBecomeSlowGivesItsTurnBack) {
  fast_.Send(BodyPace::kSample + kPieceSize);
  fast_.set_times(absl::Milliseconds(3), absl::Milliseconds(1));
  fast_.Send(BodyPace::kSample);
  turns_.Begin();
  fast_.Send(BodyPace::kShare);
}

TEST_F(BodyPaceTest, ABodyThatHasBecomeFastTakesTurnsAgain) {
  slow_.Send(BodyPace::kSample);
  slow_.set_times(absl::Milliseconds(1), absl::Milliseconds(2));
  slow_.Send(BodyPace::kSample);
  const BodyTurns::Turn others = turns_.Begin();
  std::jthread body([&] { slow_.Send(kPieceSize); });
  AwaitWaiting(1);
  turns_.End(others);
}

}  // namespace
}  // namespace backup::bridge

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <thread>

#include "absl/time/time.h"
#include "base/bulk_thread.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "bridge/connection.h"

namespace backup::bridge {

// Large bodies take turns: a few go on at once, the others wait until one of these has sent its
// share. So what a body needs stays in the processor's caches, on its way through client, bridge
// and service: docs/adr/0016-bodies-take-turns.md. Thread-safe.
class BodyTurns {
 public:
  struct Limits {
    // For each core enough that one has work to do while others wait for the disk.
    size_t at_once = size_t{4} * std::max(std::thread::hardware_concurrency(), 1U);
    // A turn that takes longer counts no more: nobody waits for a body that is stuck.
    absl::Duration longest_turn = absl::Seconds(1);
    // Whoever has waited for so long goes on, however many others do.
    absl::Duration longest_wait = absl::Seconds(5);
  };
  using Turn = uint64_t;

  // `waiting` tells how many wait.
  BodyTurns(const Limits& limits, Gauge waiting) : limits_(limits), waiting_(waiting) {}

  // Waits for a turn: first come, first served.
  Turn Begin();
  void End(Turn turn);

 private:
  using Waiters = std::list<CondVar>;

  // Whether a turn is free, and this waiter's.
  bool MayBegin(Waiters::const_iterator waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeFirst() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Limits limits_;
  const Gauge waiting_;
  Mutex mutex_;
  Waiters waiters_ ABSL_GUARDED_BY(mutex_);
  Turn last_ ABSL_GUARDED_BY(mutex_) = 0;
  // When each turn ends at the latest.
  std::map<Turn, MonotonicTime> running_ ABSL_GUARDED_BY(mutex_);
};

// One body among those that take turns. It does so if it is large, and while it waits less for its
// client than for the service: a client that is the slower of both gains nothing by turns, and must
// neither wait for one nor keep one from others. Used by one thread at a time.
class BodyPace {
 public:
  // What is sent in a turn: several times what waits in the sockets' buffers when it begins, which
  // is in no cache any more.
  static constexpr int64_t kShare = int64_t{32} << 20;
  // By so much of it shows who waits for whom.
  static constexpr int64_t kSample = int64_t{2} << 20;

  // Of `announced_size` bytes; 0 if that is not known.
  BodyPace(BodyTurns& turns, int64_t announced_size,
           std::function<MonotonicTime()> now = &MonotonicClock::now)
      : turns_(turns),
        now_(std::move(now)),
        left_(announced_size < kBulkMinSize ? kBulkMinSize : kSample),
        mark_(now_()) {}
  ~BodyPace() { EndTurn(); }
  BodyPace(const BodyPace&) = delete;
  BodyPace& operator=(const BodyPace&) = delete;

  // Call it before a piece is read of the client. Waits for a turn where one is due.
  void BeforeRead();
  // Call it before the piece, of `size_bytes`, is sent.
  void AfterRead(size_t size_bytes);

 private:
  void EndTurn();
  // How long since the last call.
  MonotonicClock::duration Lap();

  BodyTurns& turns_;
  const std::function<MonotonicTime()> now_;
  std::optional<BodyTurns::Turn> turn_;
  int64_t left_;  // Of the share that is sent in the present turn, or until one may be due.
  MonotonicTime mark_;
  MonotonicClock::duration reading_{};  // In the present share.
  MonotonicClock::duration sending_{};
};

}  // namespace backup::bridge

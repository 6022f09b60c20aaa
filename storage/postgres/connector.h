#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "storage/postgres/connection.h"

namespace backup::storage::postgres {

// Makes connections to a catalog's server. While one was fine a moment ago, a server that does not
// answer may just be moving: then it is asked again for a while, first at once, then after longer
// and longer waits. After that each call asks once, so that nobody waits for long. Thread-safe.
class Connector {
 public:
  enum class Use { kMigrating, kWriting, kReading };

  // So long a primary may take to move until callers are told.
  static constexpr absl::Duration kPatience = absl::Seconds(2);

  Connector(std::vector<ConnectionParameters> hosts, absl::Duration connect_timeout,
            absl::Duration answer_timeout)
      : hosts_(std::move(hosts)),
        connect_timeout_(connect_timeout),
        answer_timeout_(answer_timeout) {}

  // A connection with its settings. Errors as of Connection::Open().
  absl::StatusOr<std::unique_ptr<Connection>> Connect(Use use);
  // The server answered just now.
  void NoteAlive();
  // Nobody waits any more.
  void Stop();

 private:
  absl::StatusOr<std::unique_ptr<Connection>> ConnectOnce(Use use);
  bool IsPatient() const;
  // Whether it was not stopped.
  bool Wait(absl::Duration time);

  const std::vector<ConnectionParameters> hosts_;
  const absl::Duration connect_timeout_;
  const absl::Duration answer_timeout_;
  std::atomic<int64_t> last_alive_ = 0;  // Of the steady clock.
  Mutex mutex_;
  CondVar stopped_;
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace backup::storage::postgres

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/readiness.h"
#include "glog/logging.h"

namespace backup {

// Writes the lines of the log from a thread of its own, so that whoever logs never waits for what
// reads them: a full pipe stops nothing else. Lines that nobody takes wait in memory; while there
// is no room for more, new ones are lost, and so are those that cannot be written. One line says
// how many, once lines are taken again. Thread-safe.
class LogWriter final : public google::base::Logger {
 public:
  static constexpr size_t kMaxQueuedBytes = 4 << 20;
  // How long the end of a process may wait for its last lines.
  static constexpr absl::Duration kLastWait = absl::Seconds(1);

  // Writes to `fd`, which must stay open. At most `max_queued_bytes` wait.
  explicit LogWriter(int fd, size_t max_queued_bytes = kMaxQueuedBytes);
  // Waits until everything is written, however long `fd` takes.
  ~LogWriter() override;
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Makes this the only place where glog writes, instead of its files and standard error; it must
  // live as long as the process then. To be called again after flags of glog's were set.
  void TakeOver();
  // Waits until everything logged before is written; false if it is not after `timeout`.
  bool WaitUntilWritten(absl::Duration timeout);
  // Since the start.
  int64_t lost_lines() const { return lost_lines_; }
  // Unavailable, with what is wrong, while nobody takes the lines or they cannot be written.
  absl::Status Check() const;
  // If `fd` is a file that is written by appending, as by `2>>FILE`: goes on in the one that has
  // its path now, which is made if need be. For whoever rotates it. No line is lost.
  void ReopenFile();

  // glog's calls. Write() takes a whole line; an empty one follows a FATAL line, before that ends
  // the process: it and what comes before it are written first, if `fd` takes them within
  // kLastWait.
  void Write(bool force_flush, time_t time, const char* message, size_t message_size) override;
  void Flush() override {}
  google::uint32 LogSize() override { return 0; }

 private:
  // What is written at once.
  struct Batch {
    std::string text;
    int64_t lines = 0;
    int64_t told_losses = 0;  // By one of the lines.
    int error = 0;            // Of the write.
  };

  void Queue(std::string line, bool is_fatal);
  void WriteLastLines();
  void Run();
  // Takes note of what became of `batch`, and puts the next lines into it. False at the end.
  bool NextBatch(Batch& batch);
  void Settle(Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds a line that tells of `losses`.
  void AddLossLine(int64_t losses, Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int fd_;
  const size_t max_queued_bytes_;
  const bool has_colors_;
  bool has_taken_over_ = false;
  std::atomic<int64_t> lost_lines_ = 0;
  std::atomic<bool> is_fatal_ = false;

  const std::string path_;  // Of the file that is written; empty if it is none.

  mutable Mutex mutex_;
  CondVar changed_;  // A batch is complete, or nothing is to be waited for.
  CondVar written_;
  // An empty one stands for those that were lost there.
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // Those that are being written included.
  int64_t untold_losses_ ABSL_GUARDED_BY(mutex_) = 0;
  // Lines that could not be written, of which no line tells yet; and why, while that is so.
  int64_t unwritten_ ABSL_GUARDED_BY(mutex_) = 0;
  int error_ ABSL_GUARDED_BY(mutex_) = 0;
  // When the write that goes on began.
  std::optional<std::chrono::steady_clock::time_point> write_began_ ABSL_GUARDED_BY(mutex_);
  std::string fatal_line_ ABSL_GUARDED_BY(mutex_);
  int waiters_ ABSL_GUARDED_BY(mutex_) = 0;  // Of WaitUntilWritten().
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Last: starts when all else is ready.
};

// Whether `log`, which must outlive it, flows. The process does its job without it.
Probe LogProbe(const LogWriter& log);

// Adds backup_log_lines_lost_total of `log`, which must outlive `metrics`.
void AddLogMetrics(Metrics& metrics, const LogWriter& log);

}  // namespace backup

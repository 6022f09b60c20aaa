#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "legacy_client/conversation.h"

namespace backup::legacy_client {

struct ReportOptions {
  bool json = false;
  bool quiet = false;
};

// Tells the user what became of the files: a line for each and a summary on standard output (as
// JSON: the lines only, the summary on standard error), and a progress bar on standard error if
// that is a terminal. Used by one thread at a time.
class Report {
 public:
  explicit Report(ReportOptions options);

  void Begin(absl::string_view name);
  void Progress(int64_t sent_bytes, int64_t total_bytes);
  void End(const absl::StatusOr<SentFile>& result);
  void Summarize() const;

  int ok() const { return ok_; }
  int failed() const { return failed_; }

 private:
  using MonotonicClock = std::chrono::steady_clock;

  void ClearProgress();
  void PrintJson(const absl::StatusOr<SentFile>& result, double seconds) const;
  void PrintText(const absl::StatusOr<SentFile>& result, double seconds) const;

  const ReportOptions options_;
  const bool shows_progress_;
  const MonotonicClock::time_point start_ = MonotonicClock::now();
  MonotonicClock::time_point file_start_;
  std::string name_;  // As text.
  int progress_percent_ = -1;
  int ok_ = 0;
  int failed_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace backup::legacy_client

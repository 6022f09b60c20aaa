#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace backup::ctl {

struct ProgressStyle {
  bool visible = false;
  bool color = false;
};

// Visible if standard error is a terminal that can move its cursor; in colour unless NO_COLOR is
// set.
ProgressStyle DetectProgressStyle();

struct Progress {
  std::string label;
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;  // 0: not known.
  absl::Duration elapsed;
};

// One line, without its end: label, bar, percent, size and rate. Of any progress, also one beyond
// its total.
std::string RenderProgress(const Progress& progress, bool color);

// Shows on standard error how a transfer goes, a few times a second, and wipes the line at its end.
// Used by one thread at a time.
class ProgressBar {
 public:
  ProgressBar(const ProgressStyle& style, absl::string_view label, int64_t total_bytes);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void SetTotal(int64_t total_bytes) { progress_.total_bytes = total_bytes; }
  void SetDone(int64_t done_bytes);
  void Advance(int64_t bytes) { SetDone(progress_.done_bytes + bytes); }
  // Wipes the line, so that something else can be written; the next advance shows it again.
  void Hide();

 private:
  const ProgressStyle style_;
  Progress progress_;
  const int64_t start_nanos_;
  int64_t shown_nanos_ = 0;
  bool shown_ = false;
};

}  // namespace backup::ctl

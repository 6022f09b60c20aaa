#include "services/backupctl/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/backupctl/output.h"

namespace backup::ctl {
namespace {

constexpr int kBarWidth = 30;
constexpr size_t kLabelWidth = 24;
constexpr int64_t kRedrawNanos = 100'000'000;
constexpr char kGreen[] = "\033[32m";
constexpr char kPlain[] = "\033[0m";
constexpr char kWipeLine[] = "\r\033[K";

int64_t MonotonicNanos() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The label's end, which tells files apart, in ASCII so that its width is known.
std::string ShortLabel(absl::string_view label) {
  std::string text;
  for (const char c : label) text.push_back(static_cast<unsigned char>(c) < 0x80 ? c : '?');
  if (text.size() <= kLabelWidth) return text;
  return absl::StrCat("...", text.substr(text.size() - (kLabelWidth - 3)));
}

}  // namespace

ProgressStyle DetectProgressStyle() {
  const char* terminal = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  ProgressStyle style;
  style.visible =
      ::isatty(STDERR_FILENO) == 1 && terminal != nullptr && absl::string_view(terminal) != "dumb";
  style.color = no_color == nullptr || *no_color == '\0';
  return style;
}

std::string RenderProgress(const Progress& progress, bool color) {
  std::string line = absl::StrFormat("%-24s ", ShortLabel(progress.label));
  if (progress.total_bytes > 0) {
    const double share = std::clamp(
        static_cast<double>(progress.done_bytes) / static_cast<double>(progress.total_bytes), 0.0,
        1.0);
    const int filled = static_cast<int>(share * kBarWidth);
    absl::StrAppend(&line, "[", color ? kGreen : "", std::string(filled, '#'), color ? kPlain : "",
                    std::string(kBarWidth - filled, '-'), "] ",
                    absl::StrFormat("%3d%% ", static_cast<int>(share * 100)));
  }
  absl::StrAppend(&line, HumanSize(progress.done_bytes));
  const double seconds = absl::ToDoubleSeconds(progress.elapsed);
  if (seconds > 0) {
    absl::StrAppend(
        &line, "  ",
        HumanSize(static_cast<int64_t>(static_cast<double>(progress.done_bytes) / seconds)), "/s");
  }
  return line;
}

ProgressBar::ProgressBar(const ProgressStyle& style, absl::string_view label, int64_t total_bytes)
    : style_(style), start_nanos_(MonotonicNanos()) {
  progress_.label = Printable(label);
  progress_.total_bytes = total_bytes;
}

ProgressBar::~ProgressBar() { Hide(); }

void ProgressBar::SetDone(int64_t done_bytes) {
  progress_.done_bytes = done_bytes;
  if (!style_.visible) return;
  const int64_t now = MonotonicNanos();
  if (now - shown_nanos_ < kRedrawNanos) return;
  shown_nanos_ = now;
  shown_ = true;
  progress_.elapsed = absl::Nanoseconds(now - start_nanos_);
  std::fputs(absl::StrCat(kWipeLine, RenderProgress(progress_, style_.color)).c_str(), stderr);
  std::fflush(stderr);
}

void ProgressBar::Hide() {
  if (!shown_) return;
  std::fputs(kWipeLine, stderr);
  std::fflush(stderr);
  shown_ = false;
  shown_nanos_ = 0;
}

}  // namespace backup::ctl

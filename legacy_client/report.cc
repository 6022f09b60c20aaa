#include "legacy_client/report.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/name_text.h"
#include "base/printable.h"
#include "nlohmann/json.hpp"

namespace backup::legacy_client {
namespace {

constexpr int kProgressBarWidth = 30;
constexpr double kBytesPerMegabyte = 1e6;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double MegabytesPerSecond(int64_t bytes, double seconds) {
  return seconds > 0 ? static_cast<double>(bytes) / kBytesPerMegabyte / seconds : 0;
}

}  // namespace

Report::Report(ReportOptions options)
    : options_(options),
      shows_progress_(!options.quiet && !options.json && isatty(STDERR_FILENO) != 0) {}

void Report::Begin(absl::string_view name) {
  name_ = NameToText(name);
  file_start_ = MonotonicClock::now();
  progress_percent_ = -1;
}

void Report::Progress(int64_t sent_bytes, int64_t total_bytes) {
  if (!shows_progress_ || total_bytes <= 0) return;
  const int percent = static_cast<int>(100 * sent_bytes / total_bytes);
  if (percent == progress_percent_) return;
  progress_percent_ = percent;
  const int filled = kProgressBarWidth * percent / 100;
  absl::FPrintF(stderr, "\r[%s%s] %3d%% %s\x1b[K", std::string(static_cast<size_t>(filled), '#'),
                std::string(static_cast<size_t>(kProgressBarWidth - filled), '.'), percent,
                Printable(name_));
}

void Report::ClearProgress() {
  if (progress_percent_ >= 0) absl::FPrintF(stderr, "\r\x1b[K");
}

void Report::End(const absl::StatusOr<SentFile>& result) {
  const double seconds = SecondsSince(file_start_);
  ClearProgress();
  ++(result.ok() ? ok_ : failed_);
  if (result.ok()) bytes_ += result->size_bytes;
  if (options_.json) {
    PrintJson(result, seconds);
  } else if (!options_.quiet || !result.ok()) {
    PrintText(result, seconds);
  }
}

void Report::PrintJson(const absl::StatusOr<SentFile>& result, double seconds) const {
  nlohmann::ordered_json line = {{"file", name_}, {"ok", result.ok()}, {"seconds", seconds}};
  if (result.ok()) {
    line["bytes"] = result->size_bytes;
    line["checksum"] = result->checksum;
    line["tries"] = result->tries;
  } else {
    line["error"] = std::string(result.status().message());
  }
  constexpr bool kAsciiOnly = true;  // No name steers a terminal.
  absl::PrintF("%s\n", line.dump(-1, ' ', kAsciiOnly, nlohmann::json::error_handler_t::replace));
  fflush(stdout);
}

void Report::PrintText(const absl::StatusOr<SentFile>& result, double seconds) const {
  if (!result.ok()) {
    absl::FPrintF(stderr, "failed  %s: %s\n", Printable(name_),
                  Printable(result.status().message()));
    return;
  }
  absl::PrintF("ok      %s  %d bytes  checksum %u  %.1f MB/s%s\n", Printable(name_),
               result->size_bytes, result->checksum,
               MegabytesPerSecond(result->size_bytes, seconds),
               result->tries == 1 ? "" : absl::StrFormat("  after %d tries", result->tries));
}

void Report::Summarize() const {
  if (options_.quiet) return;
  absl::FPrintF(options_.json ? stderr : stdout, "%d ok, %d failed, %d bytes, %.1f MB/s\n", ok_,
                failed_, bytes_, MegabytesPerSecond(bytes_, SecondsSince(start_)));
}

}  // namespace backup::legacy_client

#include "rpc/grpc_log.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "base/printable.h"
#include "glog/logging.h"
#include "grpc/support/log.h"

namespace backup::rpc {
namespace {

// Errors of gRPC tell what peers send (header fields, too), as long and as often as these like.
constexpr size_t kMaxLineSize = 500;
constexpr int kMaxErrorsPerSecond = 20;

// Thread-safe.
class ErrorBudget {
 public:
  // How many errors were left out before this one; nothing if this one is to be left out.
  std::optional<int64_t> Take() {
    const auto now = std::chrono::steady_clock::now();
    MutexLock lock(mutex_);
    if (now - begin_ >= std::chrono::seconds(1)) {
      begin_ = now;
      taken_ = 0;
    }
    if (taken_ == kMaxErrorsPerSecond) {
      ++left_out_;
      return std::nullopt;
    }
    ++taken_;
    return std::exchange(left_out_, 0);
  }

 private:
  Mutex mutex_;
  std::chrono::steady_clock::time_point begin_ ABSL_GUARDED_BY(mutex_);
  int taken_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
};

void Log(gpr_log_func_args* line) {
  static ErrorBudget& errors = *new ErrorBudget();
  google::LogSeverity severity = google::GLOG_INFO;
  std::string text = Printable(absl::string_view(line->message).substr(0, kMaxLineSize));
  if (line->severity == GPR_LOG_SEVERITY_ERROR) {
    severity = google::GLOG_ERROR;
    const std::optional<int64_t> left_out = errors.Take();
    if (!left_out) return;
    if (*left_out > 0) absl::StrAppend(&text, " (after ", *left_out, " more errors of gRPC)");
  }
  google::LogMessage(line->file, line->line, severity).stream() << text;
}

}  // namespace

void DropGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args*) {});
}

void SendGrpcLogToGlog() { gpr_set_log_function(&Log); }

}  // namespace backup::rpc

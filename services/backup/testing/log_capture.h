#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "glog/logging.h"

namespace backup::testing {

// Everything that is logged during its life. Thread-safe.
class LogCapture final : public google::LogSink {
 public:
  LogCapture() { google::AddLogSink(this); }
  ~LogCapture() override { google::RemoveLogSink(this); }

  void send(google::LogSeverity, const char*, const char*, int, const google::LogMessageTime&,
            const char* message, size_t size) override {
    MutexLock lock(mutex_);
    absl::StrAppend(&text_, absl::string_view(message, size), "\n");
  }

  // One line for each message, unless a message itself has several.
  std::string text() const {
    MutexLock lock(mutex_);
    return text_;
  }

 private:
  mutable Mutex mutex_;
  std::string text_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::testing

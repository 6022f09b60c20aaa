#pragma once

#include <string>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace backup {

// How long the machine has been running, which nobody sets, unlike the time of day. Thread-safe.
class BootClock {
 public:
  virtual ~BootClock() = default;
  // Since the machine was started, the time it slept included.
  virtual absl::Duration Uptime() const = 0;
  // Which start that was; empty if it is not known.
  virtual std::string BootId() const = 0;
};

// Linux's.
class SystemBootClock final : public BootClock {
 public:
  absl::Duration Uptime() const override;
  std::string BootId() const override;
};

// Stands still until a test moves it. Thread-safe.
class FakeBootClock final : public BootClock {
 public:
  absl::Duration Uptime() const override {
    MutexLock lock(mutex_);
    return uptime_;
  }
  std::string BootId() const override {
    MutexLock lock(mutex_);
    return boot_id_;
  }
  void Advance(absl::Duration by) {
    MutexLock lock(mutex_);
    uptime_ += by;
  }
  void Restart(const std::string& boot_id) {
    MutexLock lock(mutex_);
    uptime_ = absl::ZeroDuration();
    boot_id_ = boot_id;
  }

 private:
  mutable Mutex mutex_;
  absl::Duration uptime_ ABSL_GUARDED_BY(mutex_) = absl::Hours(1);
  std::string boot_id_ ABSL_GUARDED_BY(mutex_) = "boot";
};

}  // namespace backup

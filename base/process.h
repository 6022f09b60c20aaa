#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/config.h"
#include "base/mutex.h"
#include "glog/logging.h"

// A critical event: an ERROR line tagged CRITICAL, which no mode hides (glog has no such level of
// its own).
#define LOG_CRITICAL LOG(ERROR) << "CRITICAL "

namespace backup {

class LogWriter;

// Asks the process to end, once; whoever waits learns why. Thread-safe.
class StopRequest {
 public:
  // The first reason stays.
  void Request(absl::string_view reason);
  bool requested() const;
  // True once a stop is requested; false after `timeout`.
  bool WaitFor(absl::Duration timeout) const;
  // Waits without limit; returns the reason.
  std::string Wait() const;

 private:
  mutable Mutex mutex_;
  mutable CondVar changed_;
  bool requested_ ABSL_GUARDED_BY(mutex_) = false;
  std::string reason_ ABSL_GUARDED_BY(mutex_);
};

// Asks the process to read its files again. Thread-safe.
class ReloadRequest {
 public:
  // What is done then, for as long as this lives; at most one at a time.
  class Handler {
   public:
    Handler(ReloadRequest& owner, std::function<void()> reload);
    // Waits for one that goes on.
    ~Handler();
    Handler(const Handler&) = delete;
    Handler& operator=(const Handler&) = delete;

   private:
    ReloadRequest& owner_;
  };

  // Returns when it is done; at once if there is no handler.
  void Request() const;

 private:
  mutable Mutex mutex_;
  std::function<void()> reload_ ABSL_GUARDED_BY(mutex_);
};

// What StartProcess() has made. Its parts live as long as the process.
struct Process {
  std::vector<Setting> settings;
  LogWriter& log;
  ReloadRequest& reload;
};

// What main() does first in each daemon, before any thread starts: takes over the inherited state
// (base/inherited_state.h), loads the configuration, lets a thread write the log to standard error
// with file and line (colours on a terminal), and keeps big allocations in the process. SIGTERM,
// SIGINT, SIGQUIT and SIGXCPU become `stop.Request()`; a second of the first three ends the process
// at once with code 130. SIGHUP opens the log's file again and becomes a request to reload; other
// signals that would end the process are ignored. `stop` must live as long as the process. Limits
// that are too low, a configuration that cannot be loaded, and flags that only ask for information,
// end the process here.
Process StartProcess(const ProgramText& program, int& argc, char**& argv, StopRequest& stop);

// Sets the C library and Abseil up for messages of many kilobytes on gRPC, which is several times
// faster then. StartProcess() does it; other programs call it before any thread starts.
void TuneLibraries();

// Raises or lowers the log for a mode: debug shows everything, quiet only ERROR and CRITICAL lines.
void SetDebugLogging();
void SetQuietLogging();

// The end of a program whose start failed with `exit_code`, which it returns: removes the port
// files that an earlier run left, so that nobody waits for a program that is not there. They stay
// if that run still goes on (kExitInUse).
int LeaveNoPortFiles(int exit_code, const std::vector<std::string>& paths);

// Writes `text` to `path`, which all may read, by way of a file beside it, so that a reader sees
// all or nothing. Not durable.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view text);

}  // namespace backup

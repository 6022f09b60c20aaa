#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup::bench {

// A program that runs beside this one. Used by one thread at a time.
class ChildProcess {
 public:
  // Starts the program `args[0]`, which does not outlive the calling thread; what it prints on
  // standard output and standard error goes to the files of those names.
  static absl::StatusOr<ChildProcess> Start(std::vector<std::string> args,
                                            const std::string& stdout_path,
                                            const std::string& stderr_path);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  // Ends it by SIGTERM if it still runs.
  ~ChildProcess();

  // Time on all cores so far, user and system.
  double CpuSeconds() const;
  // The same, with that of all that it has started, whether or not they run still.
  double CpuSecondsWithChildren() const;
  // The most memory that was resident at any time so far.
  double PeakResidentMebibytes() const { return StatusMebibytes("VmHWM:"); }
  // Forgets the peak so far: from now on it is that of what comes.
  absl::Status ResetPeakResident();
  // The memory that is resident now.
  double ResidentMebibytes() const { return StatusMebibytes("VmRSS:"); }
  // What it had the disk write so far.
  double WrittenMegabytes() const;
  // What it had the disk read so far.
  double ReadMegabytes() const;
  // True if it has ended by itself.
  bool HasEnded();

  // Waits until it ends; its exit code, or -1 if a signal ended it. `*cpu_seconds` becomes its time
  // on all cores.
  int WaitForEnd(double* cpu_seconds);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  double StatusMebibytes(absl::string_view field) const;
  // What follows `field` in the process's file `name` of /proc; 0 if it is not there.
  double ProcNumber(absl::string_view name, absl::string_view field) const;

  pid_t pid_;
};

}  // namespace backup::bench

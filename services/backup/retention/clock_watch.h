#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/boot_clock.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/retention.h"

namespace backup::retention {

// Whether the time of day is to be trusted, by which what is old is removed. It is not from when it
// has moved by more than kMaxStep against the clock that nobody sets, in as many steps as it likes
// since the machine was started; or, after another start of the machine, from the newest time that
// was noted before. The first note of a catalog has only the newest time at which a client verified
// a file to compare with, and nobody knows how long ago that is: a clock that is behind it is not
// trusted, one that is ahead is. Then nothing is removed until somebody who knows the time says
// that it is right. What is noted is in the catalog, so that other runs of the process know it.
// Thread-safe.
class ClockWatch {
 public:
  static constexpr absl::Duration kMaxStep = absl::Hours(1);
  // How often Check() is to be called, and a time that is trusted is noted.
  static constexpr absl::Duration kInterval = absl::Minutes(1);

  // All of it must outlive this.
  ClockWatch(storage::Catalog& catalog, const Clock& clock, const BootClock& boot_clock)
      : catalog_(catalog), clock_(clock), boot_clock_(boot_clock) {}

  // Looks at the clocks and notes what is new; an error is of the catalog. Logs a line when the
  // time is not trusted any more. May wait.
  absl::Status Check();
  // The time, if it is trusted; else the infinite past, by which nothing is old. Looks at the
  // clocks. The same until Check() was called once. Never waits for the catalog.
  absl::Time RemovalTime();
  // FailedPrecondition that says why and what to do while the time is not trusted.
  absl::Status CheckTrust();
  // Trusts the time as it is now. May wait.
  absl::Status Resume();

 private:
  absl::Status Load();
  absl::Status Save();
  absl::Status Write(const storage::ClockNote& note) ABSL_EXCLUSIVE_LOCKS_REQUIRED(save_mutex_);
  // Looks at the clocks.
  void Look() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Why the time is not trusted, if it is not.
  std::string FindDistrust(absl::Time now, absl::Duration uptime) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  storage::ClockNote NewNote() const;
  // Of a catalog that has none yet, where a client verified a file last at this time.
  storage::ClockNote FirstNote(std::optional<absl::Time> last_verified) const;

  storage::Catalog& catalog_;
  const Clock& clock_;
  const BootClock& boot_clock_;
  const std::string boot_id_ = boot_clock_.BootId();
  Mutex save_mutex_;  // Held while a note is saved, so that none takes the place of a later one.
  Mutex mutex_;       // Taken after the other.
  std::optional<storage::ClockNote> note_ ABSL_GUARDED_BY(mutex_);  // Once it was loaded.
  bool is_new_ ABSL_GUARDED_BY(mutex_) = false;                     // It is to be saved.
};

}  // namespace backup::retention

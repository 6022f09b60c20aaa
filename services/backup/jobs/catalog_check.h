#pragma once

#include <atomic>
#include <stop_token>

#include "absl/time/time.h"
#include "base/boot_clock.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// Has the catalog looked at for damage that nobody met. RunIfDue() is used by one thread at a time.
class CatalogCheck {
 public:
  // How long after the last one it is due again, and so if that could not be done.
  static constexpr absl::Duration kInterval = absl::Hours(30 * 24);
  static constexpr absl::Duration kRetryInterval = absl::Hours(1);

  // Both must outlive this.
  CatalogCheck(storage::Catalog& catalog, const BootClock& clock)
      : catalog_(catalog), clock_(clock) {}

  // Checks it, if that is due, which it is at first, at low priority and for a quarter of the time;
  // logs what comes of it. To be called every kRetryInterval. Ends soon after `token` is told to
  // stop.
  void RunIfDue(const std::stop_token& token);

  // Whether the last one could not be done, so that nobody knows. Thread-safe.
  bool has_failed() const { return has_failed_; }

 private:
  storage::Catalog& catalog_;
  const BootClock& clock_;
  absl::Duration due_ = -absl::InfiniteDuration();
  std::atomic<bool> has_failed_ = false;
};

}  // namespace backup::jobs

#pragma once

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "bridge/service/backend_options.h"

namespace backup::bridge {

// Whether a call that ended so met no service, or one that ends: an older one lets gRPC 1.51 cancel
// the calls that it took in but did not begin.
bool IsUnavailable(const absl::Status& status, const BackendOptions& options);

// When a call that met an unavailable service is tried again: with growing delays, until the
// ride-through since it was first found unavailable has passed. Counts what became of it. Whoever
// makes the call waits, in whichever way it does. Used by one thread at a time.
class RideThrough {
 public:
  // `options` must outlive this.
  explicit RideThrough(const BackendOptions& options) : options_(options) {}

  // To be called after each try with what came of it: how long to wait before the next one;
  // nothing if the call is over with this status. `may_repeat`: whether it can be made again.
  std::optional<absl::Duration> NextDelay(const absl::Status& status, bool may_repeat);
  // To be called instead of another try: the delay ended because the bridge gives up.
  void GiveUp() { Count("gave_up"); }

 private:
  using Clock = std::chrono::steady_clock;

  void Count(absl::string_view outcome) const;

  const BackendOptions& options_;
  // Not since the call began: a slow upload may have gone on for longer.
  std::optional<Clock::time_point> unavailable_since_;
  absl::Duration delay_ = absl::Milliseconds(50);
};

// One try of a call, counted from its beginning.
class CountedTry {
 public:
  CountedTry(const BridgeMetrics& metrics, absl::string_view method);
  void End(const absl::Status& result) const;

 private:
  const BridgeMetrics& metrics_;
  const absl::string_view method_;
  const std::chrono::steady_clock::time_point begin_;
};

}  // namespace backup::bridge

#include "bridge/service/ride_through.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

constexpr absl::Duration kLongestDelay = absl::Milliseconds(200);

}  // namespace

bool IsUnavailable(const absl::Status& status, const BackendOptions& options) {
  return absl::IsUnavailable(status) ||
         (absl::IsCancelled(status) && !options.give_up.stop_requested());
}

std::optional<absl::Duration> RideThrough::NextDelay(const absl::Status& status, bool may_repeat) {
  if (!IsUnavailable(status, options_)) {
    if (unavailable_since_) Count("recovered");
    return std::nullopt;
  }
  const Clock::time_point now = Clock::now();
  if (!unavailable_since_) unavailable_since_ = now;
  if (!may_repeat) {
    Count("not_repeatable");
    return std::nullopt;
  }
  if (absl::FromChrono(now - *unavailable_since_) + delay_ > options_.ride_through ||
      options_.give_up.stop_requested()) {
    GiveUp();
    return std::nullopt;
  }
  VLOG(1) << "the service is unavailable, trying again: " << status;
  return std::exchange(delay_, std::min(2 * delay_, kLongestDelay));
}

void RideThrough::Count(absl::string_view outcome) const {
  options_.metrics.ride_throughs.With({outcome}).Add();
  options_.metrics.ride_through_duration.Observe(
      absl::FromChrono(Clock::now() - *unavailable_since_));
}

CountedTry::CountedTry(const BridgeMetrics& metrics, absl::string_view method)
    : metrics_(metrics), method_(method), begin_(std::chrono::steady_clock::now()) {
  metrics_.attempts_started.With({method_}).Add();
}

void CountedTry::End(const absl::Status& result) const {
  const std::optional<Reason> reason = ReasonOf(result);
  metrics_.attempt_duration
      .With({method_, reason ? InfoOf(*reason).name
                             : absl::string_view(absl::StatusCodeToString(result.code()))})
      .Observe(absl::FromChrono(std::chrono::steady_clock::now() - begin_));
}

}  // namespace backup::bridge

#include "services/backup/jobs/catalog_check.h"

#include <chrono>

#include "base/error.h"
#include "base/low_priority_thread.h"
#include "glog/logging.h"
#include "services/backup/jobs/pace.h"

namespace backup::jobs {
namespace {

// Of the time.
constexpr double kPart = 0.25;

}  // namespace

void CatalogCheck::RunIfDue(const std::stop_token& token) {
  if (clock_.Uptime() < due_) return;
  BecomeLowPriority();
  const auto begin = std::chrono::steady_clock::now();
  TimeShare share(kPart);
  const absl::Status checked = catalog_.Check([&] { share.Rest(token); }, token);
  if (token.stop_requested()) return;
  if (checked.ok())
    VLOG(1) << "the catalog was checked in "
            << absl::FromChrono(std::chrono::steady_clock::now() - begin) << ": it is whole";
  LOG_IF(ERROR, !checked.ok()) << "the check of the catalog: " << checked;
  has_failed_ = !checked.ok() && ReasonOf(checked) != Reason::kStateCorrupt;
  due_ = clock_.Uptime() + (has_failed_ ? kRetryInterval : kInterval);
}

}  // namespace backup::jobs

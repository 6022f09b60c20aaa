#include "services/backupctl/quota.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "services/backupctl/output.h"

namespace backup::ctl {
namespace {

// The service takes no more, so that JSON has each number as it is.
constexpr int64_t kMaxSize = int64_t{1} << 53;

// "soft 8.0 GiB, hard 10.0 GiB", with `text` making texts of numbers; empty without limits.
template <typename Text>
std::string LimitsText(int64_t used, int64_t soft, int64_t hard, const Text& text) {
  std::string limits;
  if (soft > 0) absl::StrAppend(&limits, ", soft ", text(soft), used > soft ? " (exceeded)" : "");
  if (hard > 0) absl::StrAppend(&limits, ", hard ", text(hard));
  return limits;
}

}  // namespace

absl::StatusOr<int64_t> ParseSize(absl::string_view option, absl::string_view text) {
  absl::string_view number = text;
  const bool has_binary_unit = absl::ConsumeSuffix(&number, "iB");
  if (!has_binary_unit) absl::ConsumeSuffix(&number, "B");
  constexpr absl::string_view kUnits = "KMGTP";
  const size_t unit = number.empty() ? absl::string_view::npos : kUnits.find(number.back());
  const bool has_unit = unit != absl::string_view::npos;
  if (has_unit) number.remove_suffix(1);
  const int64_t factor = has_unit ? int64_t{1} << (10 * (unit + 1)) : 1;
  int64_t count = 0;
  const bool is_number = std::all_of(number.begin(), number.end(), absl::ascii_isdigit) &&
                         absl::SimpleAtoi(number, &count);
  const bool is_size = is_number && count <= kMaxSize / factor && (has_unit || !has_binary_unit);
  if (is_size) return count * factor;
  return absl::InvalidArgumentError(absl::StrCat(
      option, ": ", text, " is no size such as 500M or 10GiB, from 0 to ", HumanSize(kMaxSize)));
}

std::string QuotaText(const v1::QuotaUse& use) {
  const v1::Quota& quota = use.quota();
  return absl::StrCat(
      HumanSize(use.used_bytes()), " used",
      LimitsText(use.used_bytes(), quota.soft_bytes(), quota.hard_bytes(), HumanSize), "; ",
      use.used_files(), " files used",
      LimitsText(use.used_files(), quota.soft_files(), quota.hard_files(),
                 [](int64_t count) { return absl::StrCat(count); }));
}

}  // namespace backup::ctl

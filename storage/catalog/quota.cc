#include "storage/catalog/quota.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace backup::storage {
namespace {

// Whether `more`, which is not nothing, goes beyond `limit`. Their sum may be no number.
bool GoesBeyond(int64_t limit, int64_t used, int64_t more) {
  return limit > 0 && more > 0 && more > limit - used;
}

absl::Status Refusal(const QuotaScope& holder, absl::string_view name, int64_t limit, int64_t used,
                     int64_t more) {
  return MakeError(Reason::kClientQuota,
                   absl::StrCat("the quota of ", NameOf(holder), " does not allow it: ", name,
                                " is ", limit, ", ", used, " are used and ", more,
                                " would come; delete something, or raise it"),
                   NameOf(holder));
}

}  // namespace

std::string NameOf(const QuotaScope& scope) {
  switch (scope.kind) {
    case QuotaKind::kStore:
      return "the store";
    case QuotaKind::kEveryClient:
      return "every client";
    case QuotaKind::kClient:
      return absl::StrCat("client ", ToUuid(scope.client));
  }
  return "";
}

Usage AddedBy(const QuotaUse& use, int64_t size_bytes) {
  return {size_bytes, use.is_new_file ? 1 : 0};
}

absl::Status CheckRoom(const QuotaUse& use, const Usage& more) {
  const QuotaLimits& limits = use.limits;
  if (GoesBeyond(limits.hard_bytes, use.used.bytes, more.bytes))
    return Refusal(use.holder, "hard_bytes", limits.hard_bytes, use.used.bytes, more.bytes);
  if (GoesBeyond(limits.hard_files, use.used.files, more.files))
    return Refusal(use.holder, "hard_files", limits.hard_files, use.used.files, more.files);
  return absl::OkStatus();
}

std::vector<PassedLimit> LimitsPassed(const QuotaUse& use, const Usage& more) {
  std::vector<PassedLimit> passed;
  const auto look = [&](absl::string_view name, int64_t limit, int64_t used, int64_t added) {
    if (used <= limit && GoesBeyond(limit, used, added))
      passed.push_back({use.holder, name, limit, used + added});
  };
  look("soft_bytes", use.limits.soft_bytes, use.used.bytes, more.bytes);
  look("soft_files", use.limits.soft_files, use.used.files, more.files);
  return passed;
}

}  // namespace backup::storage

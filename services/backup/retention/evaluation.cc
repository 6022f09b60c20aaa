#include "services/backup/retention/evaluation.h"

#include "storage/catalog/types.h"

namespace backup::retention {
namespace {

using storage::VersionAge;
using storage::VersionState;

constexpr absl::string_view kNames[kKeepCount] = {
    "",        "last",      "within", "hourly",   "daily",         "weekly",
    "monthly", "yearly",    "newest", "readable", "min_retention", "unconfirmed",
    "future",  "no_policy", "arrived"};

// A number that two times have in common if they are in the same period of `zone`, and no others.
int64_t PeriodOf(Keep keep, absl::Time time, const absl::TimeZone::CivilInfo& civil) {
  const absl::CivilDay day(civil.cs);
  switch (keep) {
    case Keep::kHourly:
      // Of an hour that the clocks show twice there are two: its beginning tells them apart.
      return absl::ToUnixSeconds(time) - civil.cs.minute() * 60 - civil.cs.second();
    case Keep::kDaily:
      return day - absl::CivilDay();
    case Keep::kWeekly:
      return absl::PrevWeekday(day + 1, absl::Weekday::monday) - absl::CivilDay();
    case Keep::kMonthly:
      return absl::CivilMonth(day) - absl::CivilMonth();
    default:
      return day.year();
  }
}

}  // namespace

absl::string_view KeepName(Keep keep) { return kNames[static_cast<size_t>(keep)]; }

std::vector<Keep> Verdict::reasons() const {
  std::vector<Keep> reasons;
  for (size_t i = 1; i < kKeepCount; ++i) {
    if (reasons_.test(i)) reasons.push_back(static_cast<Keep>(i));
  }
  return reasons;
}

Evaluation::Evaluation(const std::optional<storage::RetentionRules>& rules,
                       const Conditions& conditions)
    : conditions_(conditions),
      has_policy_(rules.has_value()),
      within_(rules ? rules->keep_within : absl::ZeroDuration()),
      last_left_(rules ? rules->keep_last : 0),
      periods_{{{Keep::kHourly, rules ? rules->keep_hourly : 0, {}},
                {Keep::kDaily, rules ? rules->keep_daily : 0, {}},
                {Keep::kWeekly, rules ? rules->keep_weekly : 0, {}},
                {Keep::kMonthly, rules ? rules->keep_monthly : 0, {}},
                {Keep::kYearly, rules ? rules->keep_yearly : 0, {}}}} {}

Verdict Evaluation::Judge(const VersionAge& version) {
  Verdict verdict;
  if (version.retain_until && *version.retain_until > conditions_.now)
    verdict.Add(Keep::kMinRetention);
  const absl::Duration here = conditions_.now - version.arrive_time.value_or(version.receive_time);
  if (version.arrive_time && here < kArrivalGrace) verdict.Add(Keep::kArrived);
  if (storage::IsInFuture(version.receive_time, conditions_.now)) {
    verdict.Add(Keep::kFuture);
  } else if (version.state == VersionState::kVerified) {
    JudgeVerified(version, verdict);
  } else if (conditions_.options.unconfirmed_ttl == absl::ZeroDuration() ||
             here < conditions_.options.unconfirmed_ttl) {
    verdict.Add(Keep::kUnconfirmed);
  }
  return verdict;
}

void Evaluation::JudgeVerified(const VersionAge& version, Verdict& verdict) {
  const bool is_newest_good = !version.is_damaged && !newest_good_;
  if (!saw_newest_) {
    verdict.Add(Keep::kNewest);
  } else if (is_newest_good) {
    verdict.Add(Keep::kReadable);
  }
  saw_newest_ = true;
  if (is_newest_good) {
    newest_good_ = version.receive_time;
    readable_ = version.version_id;
    readable_has_own_key_ = version.has_own_key;
  }
  has_policy_ ? ApplyRules(version, verdict) : verdict.Add(Keep::kNoPolicy);
}

void Evaluation::ApplyRules(const VersionAge& version, Verdict& verdict) {
  if (last_left_ > 0) {
    verdict.Add(Keep::kLast);
    if (!version.is_damaged) --last_left_;
  }
  // Of those before the newest good one nobody knows how old they are, compared with it.
  if (within_ > absl::ZeroDuration() &&
      (!newest_good_ || version.receive_time > *newest_good_ - within_)) {
    verdict.Add(Keep::kWithin);
  }
  ApplyPeriods(version, verdict);
}

void Evaluation::ApplyPeriods(const VersionAge& version, Verdict& verdict) {
  const absl::TimeZone::CivilInfo civil = conditions_.options.timezone.At(version.receive_time);
  for (PeriodRule& rule : periods_) {
    if (rule.left == 0) continue;
    const int64_t period = PeriodOf(rule.keep, version.receive_time, civil);
    if (rule.last == period) continue;
    verdict.Add(rule.keep);
    if (version.is_damaged) continue;
    rule.last = period;
    --rule.left;
  }
}

}  // namespace backup::retention

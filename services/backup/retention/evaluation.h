#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "storage/catalog/retention.h"

// How long versions are kept. Nothing here reads or writes anything.
namespace backup::retention {

// Why a version is kept. The numbers are those of proto/backup/v1/lifecycle.proto.
enum class Keep : int {
  kLast = 1,
  kWithin = 2,
  kHourly = 3,
  kDaily = 4,
  kWeekly = 5,
  kMonthly = 6,
  kYearly = 7,
  kNewest = 8,         // The newest verified version of its file: no policy removes it.
  kReadable = 9,       // The newest that can be read, where newer ones are damaged.
  kMinRetention = 10,  // It is younger than --min_retention was when it came.
  kUnconfirmed = 11,   // Not verified, or given up, and younger than --unconfirmed_ttl.
  kFuture = 12,        // It came in the future: nobody knows how old it is.
  kNoPolicy = 13,      // No policy is for its file.
  kArrived = 14,       // It came from elsewhere, less than kArrivalGrace ago.
};
inline constexpr size_t kKeepCount = 15;  // With 0, which is none.

// How long a version stays that has a time of another server, from when it came here: its age
// counts for the policy at once, and whoever imports has a week to see what that would remove.
inline constexpr absl::Duration kArrivalGrace = absl::Hours(7 * 24);

// "last", "within", ..., as people are told.
absl::string_view KeepName(Keep keep);

// All reasons for which a version is kept; none: it goes.
class Verdict {
 public:
  void Add(Keep keep) { reasons_.set(static_cast<size_t>(keep)); }
  bool Has(Keep keep) const { return reasons_.test(static_cast<size_t>(keep)); }
  bool goes() const { return reasons_.none(); }
  // In the order of the enumeration.
  std::vector<Keep> reasons() const;

  bool operator==(const Verdict&) const = default;

 private:
  std::bitset<kKeepCount> reasons_;
};

// What holds for all files, at all times,
struct Options {
  absl::TimeZone timezone = absl::UTCTimeZone();          // In which hours, days and so on begin.
  absl::Duration unconfirmed_ttl = absl::ZeroDuration();  // 0: what nobody confirmed stays.
};
// and at one time.
struct Conditions {
  absl::Time now;
  Options options;
};

// Judges the versions of one file, newest first, with memory for the rules alone.
//
// Verified versions count for the rules, in their order: a version is kept by a rule if its period
// is another than that of the version that the rule kept before, as long as the rule keeps fewer
// than it may. A damaged one counts for nothing, so that it takes no good one's place, but stays
// as long as a good one in its place would. Versions from the future (storage::IsInFuture) stay and
// count for nothing. Time for a client's confirmation counts from when a version came here, as
// kArrivalGrace does (storage::Version::arrive_time). To judge again what was kept gives the same
// verdicts. Used by one thread at a time.
class Evaluation {
 public:
  // `rules`: nullopt if no policy is for the file.
  Evaluation(const std::optional<storage::RetentionRules>& rules, const Conditions& conditions);

  // `version` must be older than those before.
  Verdict Judge(const storage::VersionAge& version);
  // The newest verified version that was judged and is neither damaged nor from the future; 0 if
  // there was none. No verified version goes before there is one.
  int64_t readable() const { return readable_; }
  // What is known of that one.
  bool readable_has_own_key() const { return readable_has_own_key_; }

 private:
  // A rule that keeps one version for each period.
  struct PeriodRule {
    Keep keep;
    int64_t left = 0;
    std::optional<int64_t> last;  // The period of which it kept a version last.
  };

  void JudgeVerified(const storage::VersionAge& version, Verdict& verdict);
  void ApplyRules(const storage::VersionAge& version, Verdict& verdict);
  void ApplyPeriods(const storage::VersionAge& version, Verdict& verdict);

  const Conditions conditions_;
  const bool has_policy_;
  const absl::Duration within_;
  int64_t last_left_ = 0;
  std::array<PeriodRule, 5> periods_;
  std::optional<absl::Time> newest_good_;  // Its time, once it was seen.
  int64_t readable_ = 0;
  bool readable_has_own_key_ = false;
  bool saw_newest_ = false;  // A verified version, damaged or not.
};

}  // namespace backup::retention

#include "services/backup/retention/evaluation.h"

#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::retention {
namespace {

using storage::RetentionRules;
using storage::VersionAge;
using storage::VersionState;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

absl::TimeZone Zone(const std::string& name) {
  absl::TimeZone zone;
  EXPECT_TRUE(absl::LoadTimeZone(name, &zone)) << name;
  return zone;
}

absl::Time At(const std::string& text, absl::TimeZone zone = absl::UTCTimeZone()) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M", text, zone, &time, &error)) << error;
  return time;
}

VersionAge Verified(absl::Time time) {
  VersionAge version;
  version.state = VersionState::kVerified;
  version.receive_time = time;
  return version;
}

// From oldest to newest, as documentation lists them.
std::vector<VersionAge> NewestFirst(const std::vector<std::string>& times,
                                    absl::TimeZone zone = absl::UTCTimeZone()) {
  std::vector<VersionAge> versions;
  for (auto text = times.rbegin(); text != times.rend(); ++text)
    versions.push_back(Verified(At(*text, zone)));
  return versions;
}

Conditions Now(const std::string& now, absl::TimeZone zone = absl::UTCTimeZone()) {
  return {At(now), {zone, absl::Hours(168)}};
}

std::vector<Verdict> JudgeAll(const std::vector<VersionAge>& versions,
                              const std::optional<RetentionRules>& rules,
                              const Conditions& conditions) {
  Evaluation evaluation(rules, conditions);
  std::vector<Verdict> verdicts;
  for (const VersionAge& version : versions) verdicts.push_back(evaluation.Judge(version));
  return verdicts;
}

// The times of what stays, from newest to oldest.
std::vector<std::string> Kept(const std::vector<VersionAge>& versions, const RetentionRules& rules,
                              const Conditions& conditions) {
  const std::vector<Verdict> verdicts = JudgeAll(versions, rules, conditions);
  std::vector<std::string> kept;
  for (size_t i = 0; i < versions.size(); ++i) {
    if (verdicts[i].goes()) continue;
    kept.push_back(
        absl::FormatTime("%Y-%m-%d %H:%M", versions[i].receive_time, conditions.options.timezone));
  }
  return kept;
}

// What restic documents of "forget": one backup each Sunday, twelve of them.
TEST(Evaluation, KeepsWhatResticDocumentsOfTwelveSundays) {
  const std::vector<VersionAge> sundays =
      NewestFirst({"2019-09-01 11:00", "2019-09-08 11:00", "2019-09-15 11:00", "2019-09-22 11:00",
                   "2019-09-29 11:00", "2019-10-06 11:00", "2019-10-13 11:00", "2019-10-20 11:00",
                   "2019-10-27 11:00", "2019-11-03 11:00", "2019-11-10 11:00", "2019-11-17 11:00"});
  EXPECT_THAT(
      Kept(sundays, {.keep_daily = 4}, Now("2019-11-18 00:00")),
      ElementsAre("2019-11-17 11:00", "2019-11-10 11:00", "2019-11-03 11:00", "2019-10-27 11:00"));
}

// What restic documents of one backup a day for 100 years.
TEST(Evaluation, KeepsWhatResticDocumentsOfAHundredYears) {
  std::vector<VersionAge> days;
  const absl::CivilDay last(2119, 11, 17);
  for (absl::CivilDay day = last; day > absl::CivilDay(2019, 11, 17); --day)
    days.push_back(Verified(absl::FromCivil(day, absl::UTCTimeZone()) + absl::Hours(12)));
  const std::vector<Verdict> verdicts = JudgeAll(
      days,
      RetentionRules{.keep_daily = 7, .keep_weekly = 5, .keep_monthly = 12, .keep_yearly = 75},
      Now("2119-11-18 00:00"));
  int daily = 0;
  int weekly = 0;
  int monthly = 0;
  int yearly = 0;
  for (const Verdict& verdict : verdicts) {
    daily += verdict.Has(Keep::kDaily);
    weekly += verdict.Has(Keep::kWeekly);
    monthly += verdict.Has(Keep::kMonthly);
    yearly += verdict.Has(Keep::kYearly);
  }
  EXPECT_THAT((std::vector{daily, weekly, monthly, yearly}), ElementsAre(7, 5, 12, 75));
}

// What Proxmox Backup Server documents of each option: of several backups in an hour, day, week,
// month or year only the latest is kept, and those without backups do not count. Weeks are ISO
// weeks, from Monday to Sunday.
TEST(Evaluation, KeepsWhatProxmoxDocumentsOfEachOption) {
  const std::vector<VersionAge> versions =
      NewestFirst({"2019-12-29 23:59", "2019-12-30 00:00", "2020-01-05 23:00", "2020-01-06 01:10",
                   "2020-01-06 01:50", "2020-01-06 05:00", "2020-03-01 05:00", "2020-03-01 05:30"});
  const struct {
    RetentionRules rules;
    std::vector<std::string> kept;
  } cases[] = {
      {{.keep_last = 3}, {"2020-03-01 05:30", "2020-03-01 05:00", "2020-01-06 05:00"}},
      {{.keep_hourly = 3}, {"2020-03-01 05:30", "2020-01-06 05:00", "2020-01-06 01:50"}},
      {{.keep_daily = 3}, {"2020-03-01 05:30", "2020-01-06 05:00", "2020-01-05 23:00"}},
      // 2019-12-30 is in the first week of 2020, 2019-12-29 in the last one of 2019.
      {{.keep_weekly = 4},
       {"2020-03-01 05:30", "2020-01-06 05:00", "2020-01-05 23:00", "2019-12-29 23:59"}},
      {{.keep_monthly = 3}, {"2020-03-01 05:30", "2020-01-06 05:00", "2019-12-30 00:00"}},
      {{.keep_yearly = 3}, {"2020-03-01 05:30", "2019-12-30 00:00"}},
  };
  for (const auto& [rules, kept] : cases)
    EXPECT_THAT(Kept(versions, rules, Now("2020-03-02 00:00")), ElementsAreArray(kept));
}

TEST(Evaluation, KeepsWhatIsWithinATimeOfTheNewest) {
  const std::vector<VersionAge> versions =
      NewestFirst({"2020-01-01 00:00", "2020-01-02 00:00", "2020-01-02 00:01", "2020-01-03 00:00"});
  EXPECT_THAT(Kept(versions, {.keep_within = absl::Hours(24)}, Now("2025-01-01 00:00")),
              ElementsAre("2020-01-03 00:00", "2020-01-02 00:01"));
}

TEST(Evaluation, KeepsDaysOf23And25HoursWhole) {
  const absl::TimeZone berlin = Zone("Europe/Berlin");
  // The last day of summer time has 25 hours: two of them begin at 2.
  std::vector<VersionAge> versions;
  for (absl::Time time = At("2026-10-26 00:30", berlin); time >= At("2026-10-24 23:30", berlin);
       time -= absl::Hours(1)) {
    versions.push_back(Verified(time));
  }
  EXPECT_THAT(Kept(versions, {.keep_daily = 3}, Now("2026-11-01 00:00", berlin)),
              ElementsAre("2026-10-26 00:30", "2026-10-25 23:30", "2026-10-24 23:30"));
  EXPECT_THAT(Kept(versions, {.keep_hourly = 27}, Now("2026-11-01 00:00", berlin)),
              ::testing::SizeIs(27));
  // The first has 23.
  versions.clear();
  for (absl::Time time = At("2026-03-30 00:00", berlin); time >= At("2026-03-28 23:00", berlin);
       time -= absl::Minutes(30)) {
    versions.push_back(Verified(time));
  }
  EXPECT_THAT(Kept(versions, {.keep_daily = 3}, Now("2026-11-01 00:00", berlin)),
              ElementsAre("2026-03-30 00:00", "2026-03-29 23:30", "2026-03-28 23:30"));
}

TEST(Evaluation, NeverRemovesTheNewestVerifiedVersion) {
  std::vector<VersionAge> versions = NewestFirst({"2020-01-01 00:00", "2020-01-02 00:00"});
  versions[0].state = VersionState::kReceived;
  const std::vector<Verdict> verdicts =
      JudgeAll(versions, RetentionRules{.keep_last = 1}, Now("2030-01-01 00:00"));
  EXPECT_TRUE(verdicts[0].goes());  // Nobody confirmed it.
  EXPECT_THAT(verdicts[1].reasons(), ElementsAre(Keep::kLast, Keep::kNewest));
}

TEST(Evaluation, KeepsWhatIsYoungerThanTheLeastRetention) {
  std::vector<VersionAge> versions =
      NewestFirst({"2020-01-01 00:00", "2020-01-02 00:00", "2020-01-03 00:00"});
  versions[1].retain_until = At("2020-02-01 00:01");
  versions[2].retain_until = At("2020-02-01 00:00");
  const std::vector<Verdict> verdicts =
      JudgeAll(versions, RetentionRules{.keep_last = 1}, Now("2020-02-01 00:00"));
  EXPECT_THAT(verdicts[1].reasons(), ElementsAre(Keep::kMinRetention));
  EXPECT_TRUE(verdicts[2].goes());
}

TEST(Evaluation, KeepsTheNewestReadableOneAndTakesNoGoodOnesPlaceForDamage) {
  std::vector<VersionAge> versions =
      NewestFirst({"2020-01-01 01:00", "2020-01-01 02:00", "2020-01-02 01:00", "2020-01-03 01:00",
                   "2020-01-03 02:00"});
  versions[0].is_damaged = versions[1].is_damaged = true;
  std::vector<Verdict> verdicts =
      JudgeAll(versions, RetentionRules{.keep_daily = 1}, Now("2020-02-01 00:00"));
  EXPECT_THAT(verdicts[0].reasons(), ElementsAre(Keep::kDaily, Keep::kNewest));
  EXPECT_THAT(verdicts[1].reasons(), ElementsAre(Keep::kDaily));
  EXPECT_THAT(verdicts[2].reasons(), ElementsAre(Keep::kDaily, Keep::kReadable));
  EXPECT_TRUE(verdicts[3].goes());
  versions[3].is_damaged = true;  // Of a day of which nothing is kept.
  verdicts = JudgeAll(versions, RetentionRules{.keep_daily = 1}, Now("2020-02-01 00:00"));
  EXPECT_TRUE(verdicts[3].goes());
}

TEST(Evaluation, KeepsAllVerifiedVersionsWithoutAPolicy) {
  std::vector<VersionAge> versions = NewestFirst({"2020-01-01 00:00", "2020-01-02 00:00"});
  versions.push_back(Verified(At("2019-01-01 00:00")));
  versions.back().state = VersionState::kAbandoned;
  const std::vector<Verdict> verdicts = JudgeAll(versions, std::nullopt, Now("2030-01-01 00:00"));
  EXPECT_THAT(verdicts[1].reasons(), ElementsAre(Keep::kNoPolicy));
  EXPECT_TRUE(verdicts[2].goes());
}

TEST(Evaluation, KeepsWhatNobodyConfirmedForItsTime) {
  VersionAge version = Verified(At("2020-01-01 00:00"));
  version.state = VersionState::kReceived;
  Conditions conditions = Now("2020-01-07 23:59");
  EXPECT_THAT(JudgeAll({version}, std::nullopt, conditions)[0].reasons(),
              ElementsAre(Keep::kUnconfirmed));
  conditions.now += absl::Minutes(1);
  EXPECT_TRUE(JudgeAll({version}, std::nullopt, conditions)[0].goes());
  conditions.options.unconfirmed_ttl = absl::ZeroDuration();
  EXPECT_FALSE(JudgeAll({version}, std::nullopt, conditions)[0].goes());
}

TEST(Evaluation, KeepsWhatCameFromElsewhereUntilItIsHereForAWeek) {
  std::vector<VersionAge> versions =
      NewestFirst({"2019-01-01 00:00", "2019-01-02 00:00", "2019-01-03 00:00"});
  for (VersionAge& version : versions) version.arrive_time = At("2020-01-01 00:00");
  versions[2].state = VersionState::kReceived;
  Conditions conditions = Now("2020-01-07 23:59");
  const RetentionRules rules{.keep_last = 1};
  std::vector<Verdict> verdicts = JudgeAll(versions, rules, conditions);
  EXPECT_THAT(verdicts[0].reasons(), ElementsAre(Keep::kLast, Keep::kNewest, Keep::kArrived));
  EXPECT_THAT(verdicts[1].reasons(), ElementsAre(Keep::kArrived));
  EXPECT_THAT(verdicts[2].reasons(), ElementsAre(Keep::kUnconfirmed, Keep::kArrived));
  conditions.now += absl::Minutes(1);
  verdicts = JudgeAll(versions, rules, conditions);
  EXPECT_FALSE(verdicts[0].goes());
  EXPECT_TRUE(verdicts[1].goes());
  EXPECT_TRUE(verdicts[2].goes());
  // The client still has its time to confirm it, however long that is.
  conditions.options.unconfirmed_ttl = absl::Hours(8 * 24);
  EXPECT_THAT(JudgeAll(versions, rules, conditions)[2].reasons(), ElementsAre(Keep::kUnconfirmed));
}

TEST(Evaluation, KeepsWhatIsFromTheFutureAndCountsItForNothing) {
  const std::vector<VersionAge> versions =
      NewestFirst({"2020-01-01 00:00", "2020-01-02 00:00", "2031-01-01 00:00"});
  const std::vector<Verdict> verdicts =
      JudgeAll(versions, RetentionRules{.keep_last = 1}, Now("2030-01-01 00:00"));
  EXPECT_THAT(verdicts[0].reasons(), ElementsAre(Keep::kFuture));
  EXPECT_THAT(verdicts[1].reasons(), ElementsAre(Keep::kLast, Keep::kNewest));
  EXPECT_TRUE(verdicts[2].goes());
}

// Of random histories: to judge what was kept again changes nothing, more rules keep no less, and
// whatever the rules are, a version that can be read is left.
TEST(Evaluation, KeepsItsPromisesOfRandomHistories) {
  std::mt19937_64 random(36);
  const auto below = [&](int64_t bound) { return static_cast<int64_t>(random() % bound); };
  for (int round = 0; round < 2000; ++round) {
    std::vector<VersionAge> versions;
    absl::Time time = At("2026-11-01 00:00");
    for (int64_t i = below(60); i > 0; --i) {
      VersionAge version = Verified(time);
      version.version_id = i;
      if (below(8) == 0) version.state = VersionState::kReceived;
      version.is_damaged = version.state == VersionState::kVerified && below(6) == 0;
      if (below(10) == 0) version.retain_until = time + absl::Hours(below(5000));
      versions.push_back(version);
      time -= absl::Minutes(below(4) == 0 ? below(60 * 24 * 60) : below(60 * 24));
    }
    RetentionRules rules{below(3), absl::Hours(below(100)), below(4), below(4), below(3), below(3),
                         below(3)};
    if (rules == RetentionRules()) rules.keep_last = 1;  // One that keeps nothing is refused.
    const Conditions conditions = Now("2026-11-01 00:00", Zone("America/New_York"));
    std::vector<Verdict> verdicts;
    Evaluation evaluation(rules, conditions);
    for (const VersionAge& version : versions) {
      verdicts.push_back(evaluation.Judge(version));
      const bool is_verified = version.state == VersionState::kVerified;
      EXPECT_FALSE(is_verified && verdicts.back().goes() && evaluation.readable() == 0) << round;
    }
    std::vector<VersionAge> kept;
    std::vector<Verdict> of_kept;
    bool has_good = false;
    bool keeps_good = false;
    for (size_t i = 0; i < versions.size(); ++i) {
      const bool is_good = versions[i].state == VersionState::kVerified && !versions[i].is_damaged;
      has_good |= is_good;
      if (verdicts[i].goes()) continue;
      keeps_good |= is_good;
      kept.push_back(versions[i]);
      of_kept.push_back(verdicts[i]);
    }
    EXPECT_EQ(has_good, keeps_good);
    EXPECT_EQ(JudgeAll(kept, rules, conditions), of_kept) << "round " << round;
    ++rules.keep_daily;
    rules.keep_within += absl::Hours(1);
    const std::vector<Verdict> more = JudgeAll(versions, rules, conditions);
    for (size_t i = 0; i < versions.size(); ++i) {
      EXPECT_FALSE(!verdicts[i].goes() && more[i].goes()) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace backup::retention

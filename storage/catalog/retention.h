#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "storage/catalog/version.h"

// What a catalog knows of how long versions are kept, as plain values.
namespace backup::storage {

// Which verified versions of a file are kept; 0: no such rule. What any rule keeps is kept. Of each
// hour, day, ISO week, month and year that has a version the newest one counts, and those without
// one do not count.
struct RetentionRules {
  int64_t keep_last = 0;
  absl::Duration keep_within = absl::ZeroDuration();  // Before the newest one.
  int64_t keep_hourly = 0;
  int64_t keep_daily = 0;
  int64_t keep_weekly = 0;
  int64_t keep_monthly = 0;
  int64_t keep_yearly = 0;

  bool operator==(const RetentionRules&) const = default;
};

// What a policy is for: the store (both empty), a client, or those of its files whose names a
// pattern matches. At most one policy is for the same.
struct PolicyScope {
  ClientId client;      // All zero: the store.
  std::string pattern;  // services/backup/retention/name_pattern.h; empty: all files.

  bool operator==(const PolicyScope&) const = default;
  auto operator<=>(const PolicyScope&) const = default;
};

struct RetentionPolicy {
  PolicyScope scope;
  RetentionRules rules;

  bool operator==(const RetentionPolicy&) const = default;
};

// What retention needs to know of a version.
struct VersionAge {
  int64_t version_id = 0;
  VersionState state = VersionState::kReceived;
  bool is_damaged = false;  // Verified once, and known not to be readable now.
  bool has_own_key =
      false;  // It is kept whole, not plain: only its footer tells which key opens it.
  absl::Time receive_time;
  std::optional<absl::Time> retain_until;  // Nobody may remove it before.
  std::optional<absl::Time> arrive_time;   // Version::arrive_time.
};

// A version that is to go because of its age, and what was seen when that was decided.
struct Expiring {
  int64_t version_id = 0;
  VersionState state = VersionState::kReceived;
  int64_t readable = 0;  // If it is verified: a newer one of its file that is not damaged, either.
};

// Some versions of one file, newest first.
struct FileAges {
  ClientId client;
  std::string file_name;  // Raw bytes.
  std::vector<VersionAge> versions;
};

// A place in the order of clients, names and then versions, newest first: behind this version, or,
// with 0, behind all versions of this file.
struct AgesPlace {
  ClientId client;
  std::string file_name;
  int64_t version_id = 0;
};

struct AgesPage {
  std::vector<FileAges> files;    // None is without versions; the last one may have more of them.
  std::optional<AgesPlace> next;  // Where to go on; unset: this is all.
};

// OK if what nobody may remove before `retain_until` may be removed at `now`, which is the infinite
// past while the time is not trusted. Reason RETAINED, about `subject`.
absl::Status CheckRemovable(std::optional<absl::Time> retain_until, absl::Time now,
                            absl::string_view subject);

// What was noted of the machine's clocks (services/backup/retention/clock_watch.h).
struct ClockNote {
  // The wall clock and the clock that no one sets, read at the same moment, when both were trusted
  // last for a reason other than this note; and which start of the machine that was.
  absl::Time base_time;
  absl::Duration base_uptime;
  std::string boot_id;
  // The newest time that was noted while the clock was trusted.
  absl::Time newest_time;
  // Since when it is not trusted, and why; unset: it is.
  std::optional<absl::Time> distrusted_since;
  std::string distrust;

  bool operator==(const ClockNote&) const = default;
};

}  // namespace backup::storage

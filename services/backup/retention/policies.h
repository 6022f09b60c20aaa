#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "services/backup/retention/name_pattern.h"
#include "storage/catalog/retention.h"
#include "storage/catalog/snapshot.h"

namespace backup::retention {

// Of each number in a policy, and of keep_within: more is a mistake.
inline constexpr int64_t kMaxKeep = 100'000;
inline constexpr absl::Duration kMaxKeepWithin = absl::Hours(24 * 365 * 100);
// Policies with a pattern that a client may have: each is tried for each of its files.
inline constexpr int kMaxPatterns = 100;

// Reason INVALID_FIELD: a number is negative or absurd, no rule keeps anything, there is a pattern
// without a client, or one that makes no sense.
absl::Status CheckPolicy(const storage::RetentionPolicy& policy);

// The policies that may be for files of one client. Thread-safe.
class ClientPolicies {
 public:
  // `store` and `client`: of the store and of the client as a whole, if there are any.
  static absl::StatusOr<ClientPolicies> Make(const std::vector<storage::RetentionPolicy>& policies);

  // The policy for a file, which is the most specific one: of those with a pattern that matches the
  // one whose names begin with the most known bytes, then the longest one, then the first one by
  // bytes; else the client's; else the store's; else none.
  const storage::RetentionPolicy* ForFile(absl::string_view name) const;

 private:
  struct WithPattern {
    NamePattern pattern;
    storage::RetentionPolicy policy;
  };

  std::optional<storage::RetentionPolicy> store_;
  std::optional<storage::RetentionPolicy> client_;
  std::vector<WithPattern> patterns_;  // The most specific one first.
};

// Those that are stored, with `instead` in the place of the one for the same, or added.
absl::StatusOr<ClientPolicies> ReadPolicies(
    storage::Snapshot& snapshot, const ClientId& client,
    const std::optional<storage::RetentionPolicy>& instead = std::nullopt);

}  // namespace backup::retention

#include "services/backup/retention/policies.h"

#include <algorithm>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace backup::retention {
namespace {

using storage::RetentionPolicy;
using storage::RetentionRules;

struct Number {
  absl::string_view field;
  int64_t RetentionRules::*value;
};
constexpr Number kNumbers[] = {
    {"keep_last", &RetentionRules::keep_last},       {"keep_hourly", &RetentionRules::keep_hourly},
    {"keep_daily", &RetentionRules::keep_daily},     {"keep_weekly", &RetentionRules::keep_weekly},
    {"keep_monthly", &RetentionRules::keep_monthly}, {"keep_yearly", &RetentionRules::keep_yearly}};

}  // namespace

absl::Status CheckPolicy(const RetentionPolicy& policy) {
  const RetentionRules& rules = policy.rules;
  for (const auto& [field, value] : kNumbers) {
    if (rules.*value < 0 || rules.*value > kMaxKeep) {
      return MakeError(Reason::kInvalidField, absl::StrCat(field, " must be 0 to ", kMaxKeep),
                       field);
    }
  }
  if (rules.keep_within < absl::ZeroDuration() || rules.keep_within > kMaxKeepWithin) {
    return MakeError(
        Reason::kInvalidField,
        absl::StrCat("keep_within must be 0s to ", absl::FormatDuration(kMaxKeepWithin)),
        "keep_within");
  }
  if (rules == RetentionRules()) {
    return MakeError(Reason::kInvalidField,
                     "a policy must keep something: give at least one keep_ rule more than 0",
                     "rules");
  }
  if (policy.scope.pattern.empty()) return absl::OkStatus();
  if (policy.scope.client == ClientId())
    return MakeError(Reason::kInvalidField, "a pattern is for the files of one client",
                     "client_id");
  return NamePattern::Parse("pattern", policy.scope.pattern).status();
}

absl::StatusOr<ClientPolicies> ClientPolicies::Make(const std::vector<RetentionPolicy>& policies) {
  ClientPolicies made;
  for (const RetentionPolicy& policy : policies) {
    if (policy.scope.client == ClientId()) {
      made.store_ = policy;
    } else if (policy.scope.pattern.empty()) {
      made.client_ = policy;
    } else {
      ASSIGN_OR_RETURN(NamePattern pattern, NamePattern::Parse("pattern", policy.scope.pattern));
      made.patterns_.push_back({std::move(pattern), policy});
    }
  }
  const auto order = [](const WithPattern& each) {
    const std::string& text = each.pattern.text();
    return std::tuple(~each.pattern.literal_prefix_size(), ~text.size(), absl::string_view(text));
  };
  std::sort(made.patterns_.begin(), made.patterns_.end(),
            [&](const WithPattern& a, const WithPattern& b) { return order(a) < order(b); });
  return made;
}

const RetentionPolicy* ClientPolicies::ForFile(absl::string_view name) const {
  for (const WithPattern& each : patterns_) {
    if (each.pattern.Matches(name)) return &each.policy;
  }
  if (client_) return &*client_;
  return store_ ? &*store_ : nullptr;
}

absl::StatusOr<ClientPolicies> ReadPolicies(storage::Snapshot& snapshot, const ClientId& client,
                                            const std::optional<RetentionPolicy>& instead) {
  ASSIGN_OR_RETURN(std::vector<RetentionPolicy> policies, snapshot.ListPoliciesFor(client));
  const bool is_for_client =
      instead && (instead->scope.client == client || instead->scope.client == ClientId());
  if (is_for_client) {
    policies.erase(std::remove_if(policies.begin(), policies.end(),
                                  [&](const RetentionPolicy& policy) {
                                    return policy.scope == instead->scope;
                                  }),
                   policies.end());
    policies.push_back(*instead);
  }
  return ClientPolicies::Make(policies);
}

}  // namespace backup::retention

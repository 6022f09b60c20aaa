#include "services/backup/retention/policies.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::retention {
namespace {

using storage::RetentionPolicy;
using storage::RetentionRules;

const ClientId kClient = *ClientId::FromBytes("0123456789abcdef");

TEST(CheckPolicy, NamesWhatIsWrongWithAPolicy) {
  const struct {
    RetentionPolicy policy;
    std::string field;
  } cases[] = {
      {{{}, {}}, "rules"},
      {{{}, {.keep_last = -1}}, "keep_last"},
      {{{}, {.keep_hourly = kMaxKeep + 1}}, "keep_hourly"},
      {{{}, {.keep_daily = -1}}, "keep_daily"},
      {{{}, {.keep_weekly = -1}}, "keep_weekly"},
      {{{}, {.keep_monthly = -1}}, "keep_monthly"},
      {{{}, {.keep_yearly = -1}}, "keep_yearly"},
      {{{}, {.keep_within = -absl::Seconds(1)}}, "keep_within"},
      {{{}, {.keep_within = kMaxKeepWithin + absl::Seconds(1)}}, "keep_within"},
      {{{ClientId(), "*"}, {.keep_last = 1}}, "client_id"},
      {{{kClient, "[a"}, {.keep_last = 1}}, "pattern"},
  };
  for (const auto& [policy, field] : cases) {
    const absl::Status status = CheckPolicy(policy);
    EXPECT_EQ(ReasonOf(status), Reason::kInvalidField) << field;
    EXPECT_EQ(SubjectOf(status), field);
  }
  EXPECT_OK(CheckPolicy({{}, {.keep_yearly = kMaxKeep}}));
  EXPECT_OK(CheckPolicy({{kClient, "**/*.log"}, {.keep_within = kMaxKeepWithin}}));
}

TEST(ClientPolicies, ChoosesTheMostSpecificOne) {
  std::vector<RetentionPolicy> policies;
  int64_t number = 0;
  for (const char* pattern : {"**", "/var/**", "/var/log/*", "/var/log/*.gz", "/*/log/x", "*z"})
    policies.push_back({{kClient, pattern}, {.keep_last = ++number}});
  policies.push_back({{kClient, ""}, {.keep_last = ++number}});
  policies.push_back({{ClientId(), ""}, {.keep_last = ++number}});
  const auto chosen = [&](absl::string_view name) -> std::string {
    const absl::StatusOr<ClientPolicies> made = ClientPolicies::Make(policies);
    EXPECT_OK(made);
    const RetentionPolicy* const policy = made->ForFile(name);
    if (policy == nullptr) return "none";
    if (policy->scope.client == ClientId()) return "store";
    return policy->scope.pattern.empty() ? "client" : policy->scope.pattern;
  };
  EXPECT_EQ(chosen("/var/log/a.gz"), "/var/log/*.gz");  // As many known bytes, but longer.
  EXPECT_EQ(chosen("/var/log/x"), "/var/log/*");
  EXPECT_EQ(chosen("/srv/log/x"), "/*/log/x");
  EXPECT_EQ(chosen("/var/lib/y"), "/var/**");
  EXPECT_EQ(chosen("a"), "**");
  EXPECT_EQ(chosen("xyz"), "**");  // As long and no better: "**" is before "*z" by bytes.
  policies.erase(policies.begin());
  EXPECT_EQ(chosen("xyz"), "*z");
  EXPECT_EQ(chosen("a"), "client");
  policies.erase(policies.end() - 2);
  EXPECT_EQ(chosen("a"), "store");
  policies.pop_back();
  EXPECT_EQ(chosen("a"), "none");
}

}  // namespace
}  // namespace backup::retention

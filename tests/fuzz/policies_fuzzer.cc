// What a pattern of names matches is what its description says, as a slow and simple reading of
// that does; and of a client's policies each file has the one that is most specific.

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "base/error.h"
#include "glog/logging.h"
#include "services/backup/retention/name_pattern.h"
#include "services/backup/retention/policies.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/slow_pattern.h"

namespace backup::fuzz {
namespace {

using retention::NamePattern;
using storage::RetentionPolicy;

constexpr size_t kMaxName = 24;  // SlowlyMatches() takes time for all ways to divide a name.

std::optional<NamePattern> TryPattern(absl::string_view text, absl::string_view name) {
  const auto pattern = NamePattern::Parse("pattern", text);
  if (!pattern.ok()) {
    CHECK(ReasonOf(pattern.status()) == Reason::kInvalidField);
    return std::nullopt;
  }
  CHECK(pattern->text() == text && pattern->literal_prefix_size() <= text.size());
  CHECK(pattern->Matches(text));
  const bool matches = pattern->Matches(name);
  if (std::count(text.begin(), text.end(), '*') <= 4)
    CHECK_EQ(matches, name == text || SlowlyMatches(text, name)) << text << " and " << name;
  CHECK(!matches || absl::StartsWith(name, text.substr(0, pattern->literal_prefix_size())));
  return *pattern;
}

RetentionPolicy TakePolicy(Input& input) {
  RetentionPolicy policy;
  if (input.Byte() % 4 != 0)
    policy.scope.client = *ClientId::FromBytes(std::string(ClientId::kSize, 'c'));
  if (input.Flag()) policy.scope.pattern = std::string(input.Text(kMaxName));
  policy.rules.keep_last = static_cast<int64_t>(input.Uint(input.Flag() ? 8 : 2));
  policy.rules.keep_yearly = static_cast<int64_t>(input.Uint(1));
  policy.rules.keep_within = absl::Seconds(static_cast<int64_t>(input.Uint(input.Flag() ? 8 : 4)));
  return policy;
}

// How specific a policy is for a name that it is for: more is larger.
auto Specificity(const RetentionPolicy& policy) {
  const std::string& pattern = policy.scope.pattern;
  const size_t known = pattern.empty() ? 0 : NamePattern::Parse("", pattern)->literal_prefix_size();
  return std::tuple(policy.scope.client != ClientId(), !pattern.empty(), known, pattern.size());
}

bool IsFor(const RetentionPolicy& policy, absl::string_view name) {
  return policy.scope.pattern.empty() ||
         NamePattern::Parse("", policy.scope.pattern)->Matches(name);
}

void TryPolicies(Input& input, absl::string_view name) {
  std::vector<RetentionPolicy> policies;
  while (!input.AtEnd() && policies.size() < 8) {
    const RetentionPolicy policy = TakePolicy(input);
    const bool is_there =
        std::any_of(policies.begin(), policies.end(),
                    [&](const RetentionPolicy& each) { return each.scope == policy.scope; });
    if (const absl::Status checked = retention::CheckPolicy(policy); !checked.ok()) {
      CHECK(ReasonOf(checked) == Reason::kInvalidField);
    } else if (!is_there) {
      policies.push_back(policy);
    }
  }
  const auto made = retention::ClientPolicies::Make(policies);
  CHECK(made.ok()) << made.status();
  const RetentionPolicy* const chosen = made->ForFile(name);
  for (const RetentionPolicy& policy : policies) {
    if (!IsFor(policy, name)) continue;
    CHECK(chosen != nullptr && IsFor(*chosen, name));
    CHECK(Specificity(*chosen) >= Specificity(policy));
  }
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  const absl::string_view name = input.Text(kMaxName);
  TryPattern(input.Text(300), name);
  TryPolicies(input, name);
}

}  // namespace backup::fuzz

#include "services/backup/handlers/policies.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"
#include "services/backup/retention/policies.h"
#include "services/backup/retention/walk.h"

namespace backup::handlers {
namespace {

using storage::PolicyScope;
using storage::RetentionPolicy;

constexpr char kPoliciesScope[] = "policies";
// Versions that are looked at in one read, and told in one message at most.
constexpr int kPreviewPage = 1000;

absl::StatusOr<PolicyScope> ParseScope(const std::string& client_id, const std::string& pattern) {
  PolicyScope scope;
  if (!client_id.empty()) {
    ASSIGN_OR_RETURN(scope.client, ParseClientId(client_id));
  }
  if (!pattern.empty()) {
    ASSIGN_OR_RETURN(scope.pattern, ParseName("pattern", pattern));
  }
  return scope;
}

absl::StatusOr<RetentionPolicy> ParsePolicy(const v1::RetentionPolicy& message) {
  RetentionPolicy policy;
  ASSIGN_OR_RETURN(policy.scope, ParseScope(message.client_id(), message.pattern()));
  ASSIGN_OR_RETURN(policy.rules.keep_within, ParseDuration("keep_within", message.keep_within()));
  policy.rules.keep_last = message.keep_last();
  policy.rules.keep_hourly = message.keep_hourly();
  policy.rules.keep_daily = message.keep_daily();
  policy.rules.keep_weekly = message.keep_weekly();
  policy.rules.keep_monthly = message.keep_monthly();
  policy.rules.keep_yearly = message.keep_yearly();
  RETURN_IF_ERROR(retention::CheckPolicy(policy));
  return policy;
}

v1::RetentionPolicy ToProto(const RetentionPolicy& policy) {
  v1::RetentionPolicy message;
  if (policy.scope.client != ClientId()) message.set_client_id(ToUuid(policy.scope.client));
  if (!policy.scope.pattern.empty()) message.set_pattern(NameToText(policy.scope.pattern));
  const storage::RetentionRules& rules = policy.rules;
  message.set_keep_last(rules.keep_last);
  if (rules.keep_within > absl::ZeroDuration())
    SetDuration(rules.keep_within, *message.mutable_keep_within());
  message.set_keep_hourly(rules.keep_hourly);
  message.set_keep_daily(rules.keep_daily);
  message.set_keep_weekly(rules.keep_weekly);
  message.set_keep_monthly(rules.keep_monthly);
  message.set_keep_yearly(rules.keep_yearly);
  return message;
}

absl::Status PolicyNotFound(const PolicyScope& scope) {
  return MakeError(Reason::kPolicyNotFound, "there is no policy for exactly this",
                   scope.pattern.empty() ? "" : NameToText(scope.pattern));
}

// What a preview is about.
struct PreviewScope {
  std::optional<ClientId> client;
  std::optional<std::string> file_name;

  bool Has(const retention::JudgedFile& file) const {
    return (!client || file.client == *client) && (!file_name || file.file_name == *file_name);
  }
};

absl::StatusOr<PreviewScope> ParsePreviewScope(const v1::PreviewRetentionRequest& request) {
  PreviewScope scope;
  if (!request.client_id().empty()) {
    ASSIGN_OR_RETURN(scope.client, ParseClientId(request.client_id()));
  }
  if (!request.file_name().empty()) {
    if (!scope.client)
      return MakeError(Reason::kInvalidField, "file_name needs client_id", "file_name");
    ASSIGN_OR_RETURN(scope.file_name, ParseName("file_name", request.file_name()));
  }
  return scope;
}

void AddDecisions(const retention::JudgedFile& file, v1::PreviewRetentionResponse& response) {
  const std::string client = ToUuid(file.client);
  const std::string name = NameToText(file.file_name);
  for (const auto& [age, verdict, readable, has_own_key] : file.versions) {
    v1::RetentionDecision& decision = *response.add_decisions();
    decision.set_client_id(client);
    decision.set_file_name(name);
    decision.set_version_id(age.version_id);
    SetTime(age.receive_time, *decision.mutable_receive_time());
    for (const retention::Keep reason : verdict.reasons())
      decision.add_reasons(static_cast<v1::RetentionReason>(reason));
  }
}

}  // namespace

absl::StatusOr<SetPolicy> SetPolicy::Prepare(const v1::SetPolicyRequest& request) {
  SetPolicy handler;
  ASSIGN_OR_RETURN(handler.policy_, ParsePolicy(request.policy()));
  return handler;
}

absl::Status SetPolicy::Apply(storage::Transaction& transaction) {
  if (!policy_.scope.pattern.empty()) {
    ASSIGN_OR_RETURN(const std::vector<RetentionPolicy> policies,
                     transaction.ListPoliciesFor(policy_.scope.client));
    int others = 0;
    for (const RetentionPolicy& policy : policies)
      others += !policy.scope.pattern.empty() && policy.scope != policy_.scope;
    if (others >= retention::kMaxPatterns) {
      return MakeError(
          Reason::kSizeLimit,
          absl::StrCat("a client may have ", retention::kMaxPatterns, " policies with a pattern"),
          "policies");
    }
  }
  return transaction.SetPolicy(policy_);
}

absl::StatusOr<DeletePolicy> DeletePolicy::Prepare(const v1::DeletePolicyRequest& request) {
  DeletePolicy handler;
  ASSIGN_OR_RETURN(handler.scope_, ParseScope(request.client_id(), request.pattern()));
  return handler;
}

absl::Status DeletePolicy::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(const bool was_there, transaction.DeletePolicy(scope_));
  return was_there ? absl::OkStatus() : PolicyNotFound(scope_);
}

absl::StatusOr<v1::GetPolicyResponse> GetPolicy(storage::Snapshot& snapshot,
                                                const v1::GetPolicyRequest& request) {
  ASSIGN_OR_RETURN(const PolicyScope scope, ParseScope(request.client_id(), request.pattern()));
  ASSIGN_OR_RETURN(const std::optional<RetentionPolicy> policy, snapshot.FindPolicy(scope));
  if (!policy) return PolicyNotFound(scope);
  v1::GetPolicyResponse response;
  *response.mutable_policy() = ToProto(*policy);
  return response;
}

absl::StatusOr<v1::ListPoliciesResponse> ListPolicies(storage::Snapshot& snapshot,
                                                      const v1::ListPoliciesRequest& request) {
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::string position,
                   ParsePageToken(kPoliciesScope, request.page_token()));
  std::optional<PolicyScope> after;
  if (!position.empty()) {
    const auto client = ClientId::FromBytes(position.substr(0, ClientId::kSize));
    if (!client) return WrongPageToken();
    after = PolicyScope{*client, position.substr(ClientId::kSize)};
  }
  ASSIGN_OR_RETURN(std::vector<RetentionPolicy> policies,
                   snapshot.ListPolicies(after, page_size + 1));
  v1::ListPoliciesResponse response;
  const bool more = CutToPage(policies, page_size);
  for (const RetentionPolicy& policy : policies) *response.add_policies() = ToProto(policy);
  if (more) {
    const PolicyScope& last = policies.back().scope;
    response.set_next_page_token(
        MakePageToken(kPoliciesScope, absl::StrCat(last.client.bytes(), last.pattern)));
  }
  return response;
}

absl::Status PreviewRetention(
    storage::Catalog& catalog, const retention::Conditions& conditions,
    const v1::PreviewRetentionRequest& request,
    const std::function<absl::Status(const v1::PreviewRetentionResponse&)>& send) {
  ASSIGN_OR_RETURN(const PreviewScope scope, ParsePreviewScope(request));
  std::optional<RetentionPolicy> instead;
  if (request.has_policy()) {
    ASSIGN_OR_RETURN(instead, ParsePolicy(request.policy()));
  }
  storage::AgesPlace begin;
  if (scope.client) {
    begin.client = *scope.client;
    RETURN_IF_ERROR(
        catalog
            .Read([&](storage::Snapshot& snapshot) { return snapshot.FindClient(*scope.client); })
            .status());
  }
  if (scope.file_name) begin = {*scope.client, *scope.file_name, INT64_MAX};
  retention::Walk walk(conditions, std::move(begin), std::move(instead));
  while (!walk.is_done()) {
    ASSIGN_OR_RETURN(const std::vector<retention::JudgedFile> judged,
                     walk.Next(catalog, kPreviewPage));
    v1::PreviewRetentionResponse response;
    bool is_behind = false;
    for (const retention::JudgedFile& file : judged) {
      is_behind = !scope.Has(file);
      if (is_behind) break;
      AddDecisions(file, response);
    }
    if (response.decisions_size() > 0) RETURN_IF_ERROR(send(response));
    if (is_behind) break;
  }
  return absl::OkStatus();
}

}  // namespace backup::handlers

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "backup/v1/lifecycle.pb.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"

namespace backup::ctl {
namespace {

using Lifecycle = v1::LifecycleService::StubInterface;

constexpr int kPageSize = 1000;
// A preview of a store of any size ends within it.
constexpr absl::Duration kPreviewTimeout = absl::Hours(1);

// What is given of a policy.
struct PolicyOptions {
  std::string client;  // Name or id; empty: the store.
  std::string pattern;
  int64_t keep_last = 0;
  std::string keep_within;
  int64_t keep_hourly = 0;
  int64_t keep_daily = 0;
  int64_t keep_weekly = 0;
  int64_t keep_monthly = 0;
  int64_t keep_yearly = 0;

  bool has_rules() const {
    return keep_last != 0 || !keep_within.empty() || keep_hourly != 0 || keep_daily != 0 ||
           keep_weekly != 0 || keep_monthly != 0 || keep_yearly != 0;
  }
};

struct PreviewOptions {
  PolicyOptions policy;
  std::string file_name;
  bool going = false;
};

void AddScopeOptions(CLI::App& command, PolicyOptions& options) {
  command
      .add_option("--client", options.client, "For the files of this client alone: its name or id")
      ->type_name("CLIENT");
  command
      .add_option(
          "--files", options.pattern,
          "For those of its files whose names match;\n* is any bytes but /, ** any at all, ? "
          "one byte")
      ->type_name("PATTERN");
}

void AddRuleOptions(CLI::App& command, PolicyOptions& options) {
  const auto add = [&](const char* name, int64_t& value, const char* help) {
    command.add_option(name, value, help)->type_name("N");
  };
  add("--keep-last", options.keep_last, "Keep the newest N verified versions of a file");
  command
      .add_option(
          "--keep-within", options.keep_within,
          "Keep all that are younger than the newest one by less\nthan this, such as 36h or "
          "30d")
      ->type_name("DURATION");
  add("--keep-hourly", options.keep_hourly, "Keep the newest one of each of N hours that have one");
  add("--keep-daily", options.keep_daily, "The same of N days");
  add("--keep-weekly", options.keep_weekly, "The same of N ISO weeks");
  add("--keep-monthly", options.keep_monthly, "The same of N months");
  add("--keep-yearly", options.keep_yearly, "The same of N years");
}

// A duration, or a number of days such as 30d.
absl::StatusOr<absl::Duration> ParseAge(const std::string& text) {
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration)) return duration;
  constexpr int64_t kMaxDays = 1'000'000;
  absl::string_view number = text;
  int64_t days = 0;
  if (absl::ConsumeSuffix(&number, "d") && absl::SimpleAtoi(number, &days) && days >= -kMaxDays &&
      days <= kMaxDays) {
    return absl::Hours(24) * days;
  }
  return absl::InvalidArgumentError("--keep-within must be a duration such as 36h or 30d");
}

absl::StatusOr<v1::RetentionPolicy> MakePolicy(Connection& connection,
                                               const PolicyOptions& options) {
  v1::RetentionPolicy policy;
  if (!options.client.empty()) {
    ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
    policy.set_client_id(client.client_id());
  }
  policy.set_pattern(options.pattern);
  if (!options.keep_within.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration within, ParseAge(options.keep_within));
    absl::Duration rest;
    policy.mutable_keep_within()->set_seconds(absl::IDivDuration(within, absl::Seconds(1), &rest));
    policy.mutable_keep_within()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  }
  policy.set_keep_last(options.keep_last);
  policy.set_keep_hourly(options.keep_hourly);
  policy.set_keep_daily(options.keep_daily);
  policy.set_keep_weekly(options.keep_weekly);
  policy.set_keep_monthly(options.keep_monthly);
  policy.set_keep_yearly(options.keep_yearly);
  return policy;
}

// For example "last 3, within 720h0m0s, daily 14".
std::string RulesText(const v1::RetentionPolicy& policy) {
  std::vector<std::string> rules;
  const auto add = [&](const char* name, int64_t value) {
    if (value != 0) rules.push_back(absl::StrCat(name, " ", value));
  };
  add("last", policy.keep_last());
  if (policy.has_keep_within()) {
    rules.push_back(absl::StrCat(
        "within ", absl::FormatDuration(absl::Seconds(policy.keep_within().seconds()) +
                                        absl::Nanoseconds(policy.keep_within().nanos()))));
  }
  add("hourly", policy.keep_hourly());
  add("daily", policy.keep_daily());
  add("weekly", policy.keep_weekly());
  add("monthly", policy.keep_monthly());
  add("yearly", policy.keep_yearly());
  return absl::StrJoin(rules, ", ");
}

std::vector<std::string> Row(const v1::RetentionPolicy& policy) {
  return {policy.client_id().empty() ? "(the store)" : policy.client_id(),
          policy.pattern().empty() ? "(all files)" : policy.pattern(), RulesText(policy)};
}

void Show(const std::vector<v1::RetentionPolicy>& policies, Output& output) {
  Table table({{"CLIENT ID"}, {"FILES", Table::Align::kLeft, Cut::kMiddle}, {"KEEPS"}});
  for (const v1::RetentionPolicy& policy : policies) {
    if (output.json()) output.Json(policy);
    table.AddRow(Row(policy));
  }
  if (!output.json()) output.Print(table);
}

absl::StatusOr<ExitCode> SetPolicy(Connection& connection, Output& output,
                                   const PolicyOptions& options) {
  v1::SetPolicyRequest request;
  ASSIGN_OR_RETURN(*request.mutable_policy(), MakePolicy(connection, options));
  RETURN_IF_ERROR(
      connection.CallUnary(connection.lifecycle(), &Lifecycle::SetPolicy, request).status());
  if (output.json()) {
    output.Json(request.policy());
  } else {
    output.Note(absl::StrCat("kept from now on: ", RulesText(request.policy()),
                             "; `backupctl policy preview` shows what goes"));
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ShowPolicy(Connection& connection, Output& output,
                                    const PolicyOptions& options) {
  ASSIGN_OR_RETURN(const v1::RetentionPolicy scope, MakePolicy(connection, options));
  v1::GetPolicyRequest request;
  request.set_client_id(scope.client_id());
  request.set_pattern(scope.pattern());
  ASSIGN_OR_RETURN(const v1::GetPolicyResponse response,
                   connection.CallUnary(connection.lifecycle(), &Lifecycle::GetPolicy, request));
  Show({response.policy()}, output);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ListPolicies(Connection& connection, Output& output) {
  std::vector<v1::RetentionPolicy> policies;
  v1::ListPoliciesRequest request;
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(
        const v1::ListPoliciesResponse page,
        connection.CallUnary(connection.lifecycle(), &Lifecycle::ListPolicies, request));
    policies.insert(policies.end(), page.policies().begin(), page.policies().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  Show(policies, output);
  if (policies.empty() && !output.json())
    output.Note("there is no policy: no verified version is ever removed");
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> RemovePolicy(Connection& connection, Output& output,
                                      const PolicyOptions& options) {
  ASSIGN_OR_RETURN(const v1::RetentionPolicy scope, MakePolicy(connection, options));
  v1::DeletePolicyRequest request;
  request.set_client_id(scope.client_id());
  request.set_pattern(scope.pattern());
  RETURN_IF_ERROR(
      connection.CallUnary(connection.lifecycle(), &Lifecycle::DeletePolicy, request).status());
  if (!output.json()) output.Note("the policy is forgotten");
  return ExitCode::kOk;
}

std::string ReasonsText(const v1::RetentionDecision& decision) {
  std::vector<std::string> reasons;
  for (const int reason : decision.reasons()) {
    std::string name = v1::RetentionReason_Name(static_cast<v1::RetentionReason>(reason));
    reasons.push_back(absl::StrReplaceAll(absl::AsciiStrToLower(name), {{"_", " "}}));
  }
  return absl::StrJoin(reasons, ", ");
}

std::string DecisionLine(const v1::RetentionDecision& decision) {
  const bool goes = decision.reasons().empty();
  return absl::StrCat(goes ? "goes   " : "stays  ", TimeText(decision.receive_time()), "  ",
                      decision.file_name(), " version ", decision.version_id(), " of client ",
                      decision.client_id(), goes ? "" : ": ", ReasonsText(decision));
}

absl::StatusOr<ExitCode> Preview(Connection& connection, Output& output,
                                 const PreviewOptions& options) {
  v1::PreviewRetentionRequest request;
  ASSIGN_OR_RETURN(v1::RetentionPolicy policy, MakePolicy(connection, options.policy));
  request.set_client_id(policy.client_id());
  request.set_file_name(options.file_name);
  if (options.policy.has_rules() || !options.policy.pattern.empty())
    *request.mutable_policy() = std::move(policy);
  Call call(connection.interrupt(), kPreviewTimeout);
  const auto stream = connection.lifecycle().PreviewRetention(&call.context(), request);
  v1::PreviewRetentionResponse part;
  int64_t going = 0;
  int64_t staying = 0;
  while (output.Check().ok() && stream->Read(&part)) {
    for (const v1::RetentionDecision& decision : part.decisions()) {
      const bool goes = decision.reasons().empty();
      ++(goes ? going : staying);
      if (options.going && !goes) continue;
      if (output.json()) {
        output.Json(decision);
      } else {
        output.Text(absl::StrCat(Printable(DecisionLine(decision)), "\n"));
      }
    }
  }
  if (!output.Check().ok()) call.context().TryCancel();
  const grpc::Status ended = stream->Finish();
  RETURN_IF_ERROR(output.Check());
  RETURN_IF_ERROR(connection.Explain(ended));
  if (!output.json()) output.Note(absl::StrCat(going, " versions would go, ", staying, " stay"));
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> Resume(Connection& connection, Output& output) {
  RETURN_IF_ERROR(connection
                      .CallUnary(connection.lifecycle(), &Lifecycle::ResumeRetention,
                                 v1::ResumeRetentionRequest())
                      .status());
  if (!output.json()) output.Note("the machine's time is trusted from now on");
  return ExitCode::kOk;
}

void AddPreview(CLI::App& group, Command& chosen) {
  CLI::App& preview = *group.add_subcommand(
      "preview",
      "Show of each version what keeps it, or that it goes; also by rules that are not set");
  const auto to_preview = std::make_shared<PreviewOptions>();
  AddScopeOptions(preview, to_preview->policy);
  AddRuleOptions(preview, to_preview->policy);
  preview.add_option("--file", to_preview->file_name, "Only versions of this file of the client")
      ->type_name("FILE");
  preview.add_flag("--going", to_preview->going, "Only what would go");
  preview.callback([&chosen, to_preview] {
    chosen = [to_preview](Connection& connection, Output& output) {
      return Preview(connection, output, *to_preview);
    };
  });
}

}  // namespace

void AddPolicyCommands(CLI::App& app, Command& chosen) {
  CLI::App& group =
      *app.add_subcommand("policy", "Which versions are kept, and which are removed by themselves");
  group.require_subcommand(1);

  CLI::App& set = *group.add_subcommand(
      "set", "Keep these versions of each file, and no others, by a new policy or a changed one");
  const auto to_set = std::make_shared<PolicyOptions>();
  AddScopeOptions(set, *to_set);
  AddRuleOptions(set, *to_set);
  set.callback([&chosen, to_set] {
    chosen = [to_set](Connection& connection, Output& output) {
      return SetPolicy(connection, output, *to_set);
    };
  });

  CLI::App& show = *group.add_subcommand("show", "Show the policy for the store, or for this");
  const auto to_show = std::make_shared<PolicyOptions>();
  AddScopeOptions(show, *to_show);
  show.callback([&chosen, to_show] {
    chosen = [to_show](Connection& connection, Output& output) {
      return ShowPolicy(connection, output, *to_show);
    };
  });

  group.add_subcommand("list", "List all policies")->callback([&chosen] { chosen = ListPolicies; });

  CLI::App& remove = *group.add_subcommand("rm", "Forget the policy for the store, or for this");
  const auto to_remove = std::make_shared<PolicyOptions>();
  AddScopeOptions(remove, *to_remove);
  remove.callback([&chosen, to_remove] {
    chosen = [to_remove](Connection& connection, Output& output) {
      return RemovePolicy(connection, output, *to_remove);
    };
  });

  AddPreview(group, chosen);
  group
      .add_subcommand("resume",
                      "Say that the service's machine has the right time, after `status` said that "
                      "it is not trusted")
      ->callback([&chosen] { chosen = Resume; });
}

}  // namespace backup::ctl

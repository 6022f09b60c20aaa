#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/printable.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/version_choice.h"

namespace backup::ctl {
namespace {

using Admin = v1::AdminService::StubInterface;

constexpr int kPageSize = 1000;
// A verification reads a few hundred thousand entries a second; this only bounds one that hangs.
constexpr absl::Duration kVerifyTimeout = absl::Hours(1);

struct AuditOptions {
  std::string since;
  std::string until;
  std::string actor;
  std::string action;
  std::string client;  // Name or id.
};

// A moment, or how long ago it was, such as 24h. InvalidArgument.
absl::StatusOr<absl::Time> ParseWhen(absl::string_view option, const std::string& text) {
  absl::Duration ago;
  if (absl::ParseDuration(text, &ago) && ago >= absl::ZeroDuration())
    return SystemClock().Now() - ago;
  const absl::StatusOr<absl::Time> moment = ParseMoment(text, absl::LocalTimeZone());
  if (moment.ok()) return moment;
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": ", moment.status().message(), ", nor a duration such as 24h"));
}

void SetTimestamp(absl::Time time, google::protobuf::Timestamp& out) {
  const timespec parts = absl::ToTimespec(time);
  out.set_seconds(parts.tv_sec);
  out.set_nanos(static_cast<int32_t>(parts.tv_nsec));
}

absl::StatusOr<v1::ListAuditEntriesRequest> MakeRequest(Connection& connection,
                                                        const AuditOptions& options) {
  v1::ListAuditEntriesRequest request;
  if (!options.since.empty()) {
    ASSIGN_OR_RETURN(const absl::Time since, ParseWhen("--since", options.since));
    SetTimestamp(since, *request.mutable_since_time());
  }
  if (!options.until.empty()) {
    ASSIGN_OR_RETURN(const absl::Time until, ParseWhen("--until", options.until));
    SetTimestamp(until, *request.mutable_until_time());
  }
  request.set_actor(options.actor);
  request.set_action(options.action);
  // One that is gone has no name any more.
  if (FromUuid<ClientId>(options.client)) {
    request.set_client_id(options.client);
  } else if (!options.client.empty()) {
    ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
    request.set_client_id(client.client_id());
  }
  request.set_page_size(kPageSize);
  return request;
}

// What an entry is about, in one cell.
std::string AboutText(const v1::AuditEntry& entry) {
  std::string text = entry.client_id();
  if (!entry.object().empty()) absl::StrAppend(&text, text.empty() ? "" : " ", entry.object());
  if (entry.version_id() != 0) absl::StrAppend(&text, " version ", entry.version_id());
  return text;
}

absl::StatusOr<ExitCode> List(Connection& connection, Output& output, const AuditOptions& options) {
  ASSIGN_OR_RETURN(v1::ListAuditEntriesRequest request, MakeRequest(connection, options));
  Table table({{"NUMBER", Table::Align::kRight},
               {"TIME"},
               {"ACTOR"},
               {"FROM"},
               {"ACTION"},
               {"ABOUT", Table::Align::kLeft, Cut::kMiddle},
               {"OUTCOME"},
               {"DETAIL"}});
  do {
    ASSIGN_OR_RETURN(const v1::ListAuditEntriesResponse page,
                     connection.CallUnary(connection.admin(), &Admin::ListAuditEntries, request));
    for (const v1::AuditEntry& entry : page.entries()) {
      if (output.json()) {
        output.Json(entry);
        continue;
      }
      table.AddRow({absl::StrCat(entry.number()), TimeText(entry.time()), entry.actor(),
                    entry.peer(), entry.action(), AboutText(entry), entry.outcome(),
                    entry.detail()});
    }
    RETURN_IF_ERROR(output.Check());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (!output.json()) output.Print(table);
  return ExitCode::kOk;
}

std::string FindingText(const v1::AuditFinding& finding) {
  if (finding.first_number() == 0) return finding.detail();
  if (finding.first_number() == finding.last_number())
    return absl::StrCat("entry ", finding.first_number(), ": ", finding.detail());
  return absl::StrCat("entries ", finding.first_number(), " to ", finding.last_number(), ": ",
                      finding.detail());
}

void Show(const v1::AuditSummary& summary, Output& output) {
  for (const v1::AuditFinding& lost : summary.lost()) output.Note(Printable(FindingText(lost)));
  if (summary.removed_number() > 0)
    output.Note(absl::StrCat("entries up to ", summary.removed_number(), " were removed by age"));
  output.Note(absl::StrCat("checked ", summary.entry_count(), " entries: ", summary.finding_count(),
                           " findings"));
  // To be kept elsewhere.
  if (!summary.head().empty()) output.Text(absl::StrCat("head ", summary.head(), "\n"));
}

absl::StatusOr<ExitCode> Verify(Connection& connection, Output& output, const std::string& head) {
  v1::VerifyAuditRequest request;
  request.set_head(head);
  Call call(connection.interrupt(), kVerifyTimeout);
  const auto stream = connection.admin().VerifyAudit(&call.context(), request);
  v1::VerifyAuditResponse event;
  std::optional<v1::AuditSummary> summary;
  while (output.Check().ok() && stream->Read(&event)) {
    if (output.json()) output.Json(event);
    if (!output.json() && event.has_finding())
      output.Text(absl::StrCat(Printable(FindingText(event.finding())), "\n"));
    if (event.has_summary()) summary = event.summary();
  }
  if (!output.Check().ok()) call.context().TryCancel();
  const grpc::Status ended = stream->Finish();
  RETURN_IF_ERROR(output.Check());
  RETURN_IF_ERROR(connection.Explain(ended));
  if (!summary) return absl::InternalError("the verification ended without a summary: try again");
  if (!output.json()) Show(*summary, output);
  return summary->finding_count() == 0 ? ExitCode::kOk : ExitCode::kDamaged;
}

void AddList(CLI::App& group, Command& chosen) {
  CLI::App& list = *group.add_subcommand(
      "list", "List who did what, oldest first; with --json it is an export, a line an entry");
  const auto options = std::make_shared<AuditOptions>();
  list.add_option("--since", options->since, "Only from this moment on, or so long ago: 24h")
      ->type_name("TIME");
  list.add_option("--until", options->until, "Only before this moment")->type_name("TIME");
  list.add_option("--actor", options->actor, "Only by those with this in their name")
      ->type_name("TEXT");
  list.add_option("--action", options->action, "Only this action, such as 'version delete'")
      ->type_name("ACTION");
  list.add_option("--client", options->client, "Only about this client: its name or id")
      ->type_name("CLIENT");
  list.callback([&chosen, options] {
    chosen = [options](Connection& connection, Output& output) {
      return List(connection, output, *options);
    };
  });
}

void AddVerify(CLI::App& group, Command& chosen) {
  CLI::App& verify = *group.add_subcommand(
      "verify", "Tell whether the audit log is as it was written (exit code 14: it is not)");
  const auto head = std::make_shared<std::string>();
  verify
      .add_option("--head", *head,
                  "That of an earlier verification, or of the service's log:\nwhat was there then "
                  "must be there now")
      ->type_name("HEAD");
  verify.callback([&chosen, head] {
    chosen = [head](Connection& connection, Output& output) {
      return Verify(connection, output, *head);
    };
  });
}

}  // namespace

void AddAuditCommands(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("audit", "Who did what to what, so that nobody denies it");
  group.require_subcommand(1);
  AddList(group, chosen);
  AddVerify(group, chosen);
}

}  // namespace backup::ctl

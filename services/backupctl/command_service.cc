#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/build_info.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/backupctl/commands.h"
#include "services/backupctl/progress_bar.h"
#include "services/backupctl/quota.h"

namespace backup::ctl {
namespace {

// A store of any size is read within it; a service that dies is noticed by keepalive long before.
constexpr absl::Duration kVerifyTimeout = absl::Hours(7 * 24);
constexpr double kSecondsOfADay = 24 * 60 * 60;

// When a job last ran, what it did, and why it failed if it did.
std::string JobText(const v1::JobStatus& job) {
  std::string text = absl::StrCat(
      "began ",
      TimeOrNever(job, &v1::JobStatus::has_last_start_time, &v1::JobStatus::last_start_time),
      ", ended well ",
      TimeOrNever(job, &v1::JobStatus::has_last_success_time, &v1::JobStatus::last_success_time),
      ", did ", job.last_count(), " then, ", job.total_count(), " in all");
  if (!job.last_error().empty()) absl::StrAppend(&text, "; failed: ", job.last_error());
  return text;
}

// How content is kept that came, and how much smaller that is.
std::string KeptText(const v1::GetStatusResponse& status) {
  return absl::StrCat(HumanSize(status.unique_bytes()), " unique, ",
                      HumanSize(status.compressed_bytes()), " compressed");
}

std::string DiskText(const v1::GetStatusResponse& status) {
  std::string text = absl::StrCat(HumanSize(status.physical_bytes()), " beside the catalog, in it ",
                                  HumanSize(status.garbage_bytes()), " garbage");
  if (status.waiting_bytes() > 0)
    absl::StrAppend(&text, "; ", HumanSize(status.waiting_bytes()), " wait to be compressed");
  return text;
}

std::string SnapshotsText(const v1::SnapshotStatus& snapshots) {
  if (snapshots.count() == 0) return "none";
  return absl::StrCat(snapshots.count(), ", ", HumanSize(snapshots.size_bytes()),
                      ", the newest one of ", TimeText(snapshots.newest_time()));
}

std::string DaysText(int64_t days) { return absl::StrCat(days, days == 1 ? " day" : " days"); }

int64_t DaysOf(const google::protobuf::Duration& duration) {
  return std::llround(static_cast<double>(duration.seconds()) / kSecondsOfADay);
}

std::string SignedSize(int64_t bytes) {
  return absl::StrCat(bytes < 0 ? "-" : "", HumanSize(std::abs(bytes)));
}

std::string GrowthText(const v1::GrowthStatus& growth) {
  const int64_t days = DaysOf(growth.period());
  return absl::StrCat(
      SignedSize(growth.disk_bytes_per_day()), " a day on the disk, ",
      SignedSize(growth.stored_bytes_per_day()), " of what is stored",
      days == DaysOf(growth.window()) ? "" : absl::StrCat("; measured over ", DaysText(days)));
}

std::string RoomText(const v1::GetStatusResponse& status) {
  if (status.room_bytes() == 0) return "none: the disk is full";
  std::string text = HumanSize(status.room_bytes());
  if (!status.has_days_until_full()) return text;
  const auto days = static_cast<int64_t>(status.days_until_full());
  absl::StrAppend(&text, ", full ", days == 0 ? "within a day" : "in about ",
                  days == 0 ? "" : DaysText(days), " if it fills as in the last 7 days");
  return text;
}

// What an older service does not say, or a service cannot find out, is left out.
void AddDisk(const v1::GetStatusResponse& status, Fields& fields) {
  if (status.has_catalog_bytes()) fields.emplace_back("Catalog", HumanSize(status.catalog_bytes()));
  if (status.has_snapshots()) fields.emplace_back("Snapshots", SnapshotsText(status.snapshots()));
  if (status.has_room_bytes()) fields.emplace_back("Room left", RoomText(status));
  if (status.growth().empty() && status.has_catalog_bytes() && status.has_snapshots())
    fields.emplace_back("Growth", "not known yet: less than a day was measured");
  for (const v1::GrowthStatus& growth : status.growth()) {
    fields.emplace_back(absl::StrCat("Growth, ", DaysText(DaysOf(growth.window()))),
                        GrowthText(growth));
  }
}

std::string RetentionText(const v1::RetentionStatus& retention) {
  if (retention.has_distrusted_since()) {
    return absl::StrCat("stopped since ", TimeText(retention.distrusted_since()), ": ",
                        retention.distrust(),
                        "; if the time is right now: `backupctl policy resume`");
  }
  if (retention.policy_count() > 0) return absl::StrCat(retention.policy_count(), " policies");
  return "no policy: no verified version is ever removed; see `backupctl policy set --help`";
}

absl::StatusOr<ExitCode> ShowStatus(Connection& connection, Output& output) {
  ASSIGN_OR_RETURN(
      const v1::GetStatusResponse status,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::GetStatus,
                           v1::GetStatusRequest()));
  if (output.json()) {
    output.Json(status);
    return ExitCode::kOk;
  }
  Fields fields = {
      {"Version", status.version()},
      {"Running since", TimeText(status.start_time())},
      {"Modes", status.modes().empty() ? "default" : absl::StrJoin(status.modes(), ", ")},
      {"New files kept as", status.at_rest()},
      {"Clients", absl::StrCat(status.client_count())},
      {"Files", absl::StrCat(status.file_count())},
      {"Versions",
       absl::StrCat(status.version_count(), " (", status.verified_version_count(), " verified)")},
      {"Stored", HumanSize(status.stored_bytes())},
      {"Kept once", KeptText(status)},
      {"On disk", DiskText(status)},
      {"Last verified", TimeOrNever(status, &v1::GetStatusResponse::has_last_verified_time,
                                    &v1::GetStatusResponse::last_verified_time)}};
  AddDisk(status, fields);
  if (status.trash_version_count() > 0 || status.trash_client_count() > 0) {
    fields.emplace_back(
        "In the trash",
        absl::StrCat(status.trash_version_count(), " versions, ", HumanSize(status.trash_bytes()),
                     "; of these ", status.trash_client_count(), " clients with all they had"));
  }
  if (status.unmoved_version_count() > 0)
    fields.emplace_back("To be moved", absl::StrCat(status.unmoved_version_count(), " versions"));
  fields.emplace_back("Retention", RetentionText(status.retention()));
  if (status.has_store_quota()) fields.emplace_back("Quota", QuotaText(status.store_quota()));
  if (status.clients_beyond_soft_limits() > 0) {
    fields.emplace_back("Beyond quotas",
                        absl::StrCat(status.clients_beyond_soft_limits(),
                                     " clients use more than a soft limit: see `backupctl client "
                                     "list --sizes`"));
  }
  if (status.damaged_chunk_count() + status.damaged_version_count() > 0) {
    fields.emplace_back(
        "Damaged",
        absl::StrCat(status.damaged_chunk_count(), " chunks, ", status.damaged_version_count(),
                     " versions by themselves: see `backupctl scrub status`"));
  }
  for (const v1::JobStatus& job : status.jobs())
    fields.emplace_back(absl::StrCat("Job ", job.name()), JobText(job));
  output.Print(fields);
  return ExitCode::kOk;
}

std::string FindingLine(const v1::VerifyFinding& finding) {
  std::string line = v1::VerifyFinding::Kind_Name(finding.kind());
  if (!finding.reason().empty()) absl::StrAppend(&line, " (", finding.reason(), ")");
  if (!finding.file_name().empty()) {
    absl::StrAppend(&line, "  ", finding.file_name(), " version ", finding.version_id(),
                    " of client ", finding.client_id());
  }
  return absl::StrCat(line, ": ", finding.detail());
}

void ShowEvent(const v1::VerifyStoreResponse& event, Output& output, ProgressBar& progress) {
  if (event.has_progress()) progress.SetDone(event.progress().checked_bytes());
  if (output.json()) {
    output.Json(event);
  } else if (event.has_finding()) {
    progress.Hide();
    output.Text(absl::StrCat(Printable(FindingLine(event.finding())), "\n"));
  }
}

// The share that `text` means, such as 5% or 0.05: above 0, at most 1. InvalidArgument.
absl::StatusOr<double> ParseShare(absl::string_view text) {
  absl::string_view number = text;
  const bool is_percent = absl::ConsumeSuffix(&number, "%");
  double share = 0;
  if (absl::SimpleAtod(number, &share)) {
    if (is_percent) share /= 100;
    if (share > 0 && share <= 1) return share;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--sample: ", text, " is no share such as 5%, above 0% and at most 100%"));
}

// `sample` as it was given; empty: everything is read.
absl::StatusOr<ExitCode> VerifyStore(Connection& connection, Output& output,
                                     const std::string& sample) {
  v1::VerifyStoreRequest request;
  if (!sample.empty()) {
    ASSIGN_OR_RETURN(const double share, ParseShare(sample));
    request.set_sample_ratio(share);
  }
  Call call(connection.interrupt(), kVerifyTimeout);
  const auto stream = connection.admin().VerifyStore(&call.context(), request);
  v1::VerifyStoreResponse event;
  std::optional<v1::VerifySummary> summary;
  {
    ProgressBar progress(output.progress(), "verifying", /*total_bytes=*/0);
    while (output.Check().ok() && stream->Read(&event)) {
      ShowEvent(event, output, progress);
      if (event.has_summary()) summary = event.summary();
    }
  }
  if (!output.Check().ok()) call.context().TryCancel();
  const grpc::Status ended = stream->Finish();
  RETURN_IF_ERROR(output.Check());
  RETURN_IF_ERROR(connection.Explain(ended));
  if (!summary) return absl::InternalError("the verification ended without a summary: try again");
  if (!output.json()) {
    output.Note(absl::StrCat(sample.empty() ? "checked " : "checked a random share of ", sample,
                             sample.empty() ? "" : ": ", summary->checked_versions(), " versions, ",
                             HumanSize(summary->checked_bytes()), ": ", summary->damaged_versions(),
                             " damaged, ", summary->orphan_blobs(), " orphans"));
  }
  return summary->damaged_versions() == 0 ? ExitCode::kOk : ExitCode::kDamaged;
}

absl::StatusOr<ExitCode> CheckHealth(Connection& connection, Output& output) {
  ASSIGN_OR_RETURN(const bool serving, connection.IsServing());
  const std::string status = serving ? "SERVING" : "NOT_SERVING";
  if (output.json()) {
    output.Json(nlohmann::json{{"status", status}});
  } else {
    output.Note(status);
  }
  return serving ? ExitCode::kOk : ExitCode::kFailed;
}

absl::StatusOr<ExitCode> SetLogLevel(Connection& connection,
                                     const v1::SetLogLevelRequest& request) {
  RETURN_IF_ERROR(
      connection
          .CallUnary(connection.admin(), &v1::AdminService::StubInterface::SetLogLevel, request)
          .status());
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ShowVersion(Connection&, Output& output) {
  if (output.json()) {
    output.Json(nlohmann::json{{"program", "backupctl"},
                               {"version", BACKUP_VERSION},
                               {"commit", std::string(BuildCommit())}});
  } else {
    output.Text(absl::StrCat("backupctl ", BACKUP_VERSION, " (", BuildCommit(), ")\n"));
  }
  return ExitCode::kOk;
}

void AddVerify(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand(
      "verify", "Read everything back and compare checksums (exit code 14: damage)");
  const auto sample = std::make_shared<std::string>();
  command
      .add_option("--sample", *sample,
                  "Only a random share of it, such as 5%: each pack and each\nversion is read or "
                  "left out by chance")
      ->type_name("SHARE");
  command.callback([&chosen, sample] {
    chosen = [sample](Connection& connection, Output& output) {
      return VerifyStore(connection, output, *sample);
    };
  });
}

v1::LogLevel LevelOf(const std::string& name) {
  v1::LogLevel level = v1::LOG_LEVEL_UNSPECIFIED;
  v1::LogLevel_Parse(absl::StrCat("LOG_LEVEL_", absl::AsciiStrToUpper(name)), &level);
  return level;
}

void AddLogLevel(CLI::App& app, Command& chosen) {
  CLI::App& command =
      *app.add_subcommand("log-level", "Change what the service logs, until its next start");
  const auto pattern = std::make_shared<std::string>();
  const auto level = std::make_shared<std::string>();
  command
      .add_option(
          "PATTERN", *pattern,
          "A source file's name without its ending;\n* and ? are wildcards, '*' is everything")
      ->required()
      ->type_name("");
  command.add_option("LEVEL", *level, "debug, info, warning or error; the last two only for '*'")
      ->required()
      ->type_name("")
      ->check(
          CLI::IsMember({"debug", "info", "warning", "error"}, CLI::ignore_case).description(""));
  command.callback([&chosen, pattern, level] {
    chosen = [pattern, level](Connection& connection, Output&) {
      v1::SetLogLevelRequest request;
      request.set_module_pattern(*pattern);
      request.set_level(LevelOf(*level));
      return SetLogLevel(connection, request);
    };
  });
}

}  // namespace

void AddServiceCommands(CLI::App& app, Command& chosen) {
  AddVerify(app, chosen);
  app.add_subcommand("status", "What is running, in which modes, and how much it keeps")
      ->callback([&chosen] { chosen = ShowStatus; });
  app.add_subcommand("health",
                     "Whether the service serves (exit code 1: it does not, 15: unreachable)")
      ->callback([&chosen] { chosen = CheckHealth; });
  AddLogLevel(app, chosen);
  app.add_subcommand("version", "This program's version")->callback([&chosen] {
    chosen = ShowVersion;
  });
}

}  // namespace backup::ctl

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/backupctl/commands.h"
#include "services/backupctl/restore.h"
#include "services/backupctl/restore_folder.h"
#include "services/backupctl/standard_output.h"
#include "services/backupctl/version_choice.h"

namespace backup::ctl {
namespace {

constexpr char kStandardOutput[] = "-";
constexpr int kDefaultParallelFiles = 4;

constexpr char kFooter[] = R"(
The same command again goes on with a restore that was interrupted: files that are there with the same content are
kept. A file's name decides its place below the folder (a / at its front is left out), never outside it: a file whose
name would lead elsewhere, or whose place is taken, gets another name, which is said (exit code 3). Files that fail
are reported, and the others go on (exit code 3; 1 if all fail). So are files that --file asks for and that have no
verified version (by then), and with --fallback files of which an older version is restored than is meant.)";

struct CommandOptions {
  std::string client;
  std::string to;
  std::vector<std::string> files;
  std::string as_of;
  int64_t version_id = 0;
  bool allow_renames = false;
  RestoreOptions restore = {.parallel = kDefaultParallelFiles};
};

absl::StatusOr<VersionChoice> ParseChoice(const CommandOptions& options) {
  VersionChoice choice;
  for (const std::string& file : options.files) {
    ASSIGN_OR_RETURN(Glob glob, Glob::Parse(file));
    choice.files.push_back(std::move(glob));
  }
  if (!options.as_of.empty()) {
    ASSIGN_OR_RETURN(choice.as_of, ParseMoment(options.as_of, absl::LocalTimeZone()));
  }
  if (options.version_id != 0 && (options.files.size() != 1 || choice.as_of))
    return absl::InvalidArgumentError("--version needs exactly one --file, and no --as-of");
  if (options.version_id != 0 && options.restore.fallback)
    return absl::InvalidArgumentError("--version names one version, --fallback any that is good");
  choice.version_id = options.version_id;
  return choice;
}

// What there is to be said, one thing a line.
std::vector<std::string> SummaryLines(const RestoreSummary& summary, bool dry_run, double seconds) {
  std::vector<std::string> lines;
  if (dry_run) {
    lines.push_back(absl::StrCat("would restore ", summary.files, " files, ",
                                 HumanSize(summary.bytes), "; nothing was changed"));
  } else {
    const double rate = seconds > 0 ? static_cast<double>(summary.bytes) / 1e6 / seconds : 0;
    lines.push_back(absl::StrFormat("restored %d files, %s in %.1f s (%.1f MB/s)", summary.files,
                                    HumanSize(summary.bytes), seconds, rate));
  }
  if (summary.kept > 0)
    lines.push_back(
        absl::StrCat("kept ", summary.kept, " files that were there with the same content"));
  if (summary.older > 0)
    lines.push_back(absl::StrCat("of ", summary.older,
                                 " of them an older version, since a newer one is damaged"));
  if (summary.removed_parts > 0)
    lines.push_back(
        absl::StrCat("removed ", summary.removed_parts, " parts that a killed restore left"));
  return lines;
}

void PrintSummary(const RestoreSummary& summary, bool dry_run, double seconds, Output& output) {
  if (output.json()) {
    output.Json(nlohmann::json{{"summary",
                                {{"files", summary.files},
                                 {"bytes", summary.bytes},
                                 {"kept", summary.kept},
                                 {"renamed", summary.renamed},
                                 {"older", summary.older},
                                 {"failed", summary.failed},
                                 {"unverified", summary.unverified},
                                 {"removed_parts", summary.removed_parts},
                                 {"dry_run", dry_run},
                                 {"seconds", seconds}}}});
    return;
  }
  for (const std::string& line : SummaryLines(summary, dry_run, seconds)) output.Note(line);
}

// Tells of the files without a version to restore; whether that is a failure, as they were asked
// for.
bool TellUnverified(const RestoreSummary& summary, const CommandOptions& options, Output& output) {
  if (summary.unverified == 0) return false;
  const std::string line =
      absl::StrCat(summary.unverified, " files have no ",
                   options.as_of.empty() ? "verified version" : "version that was verified by then",
                   ", so nothing to restore");
  const bool asked_for = !options.files.empty();
  if (asked_for) {
    output.Problem(line);
  } else if (!output.json()) {
    output.Note(line);
  }
  return asked_for;
}

// Reports all that was not as it was asked for, and how the process ends for it.
absl::StatusOr<ExitCode> Judge(const RestoreSummary& summary, const std::vector<std::string>& idle,
                               const CommandOptions& options, Output& output) {
  const int64_t done = summary.files + summary.kept;
  if (!idle.empty()) {
    const std::string problem = absl::StrCat("no file fits ", absl::StrJoin(idle, ", "));
    if (idle.size() == options.files.size()) {
      return absl::NotFoundError(absl::StrCat(problem, "; `backupctl file list ", options.client,
                                              "` shows those there are"));
    }
    output.Problem(problem);
  }
  if (summary.failed > 0)
    output.Problem(absl::StrCat(summary.failed, " files could not be restored"));
  const bool missing = TellUnverified(summary, options, output) || summary.failed > 0;
  const bool renamed = summary.renamed > 0 && !options.allow_renames;
  if (renamed) {
    output.Problem(absl::StrCat(summary.renamed,
                                " files have another name than they had (listed above); with "
                                "--allow-renames that is no failure"));
  }
  if (missing && done == 0) return ExitCode::kFailed;
  return missing || renamed || summary.older > 0 || !idle.empty() ? ExitCode::kPartial
                                                                  : ExitCode::kOk;
}

absl::StatusOr<RestoreSummary> RunToFolder(Connection& connection, ChosenVersions& versions,
                                           const CommandOptions& options, Output& output) {
  ASSIGN_OR_RETURN(const RestoreFolder folder, options.restore.dry_run
                                                   ? RestoreFolder::OpenToLook(options.to)
                                                   : RestoreFolder::Open(options.to));
  return Restore(connection, versions, folder, options.restore, output);
}

absl::StatusOr<RestoreSummary> RunToStandardOutput(Connection& connection, ChosenVersions& versions,
                                                   const CommandOptions& options, Output& output) {
  if (options.restore.dry_run) {
    StringSink empty_archive;
    return RestoreToTar(connection, versions, empty_archive, options.restore, output);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<StandardOutput> sink,
                   StandardOutput::Open(connection.interrupt()));
  return RestoreToTar(connection, versions, *sink, options.restore, output);
}

absl::StatusOr<ExitCode> RunRestore(Connection& connection, Output& standard_output,
                                    const CommandOptions& options) {
  MakeFilesPrivate();
  const bool to_folder = options.to != kStandardOutput;
  Output on_standard_error = standard_output.OnStandardError();
  Output& output = to_folder ? standard_output : on_standard_error;
  ASSIGN_OR_RETURN(VersionChoice choice, ParseChoice(options));
  if (choice.as_of && !output.json())
    output.Note(absl::StrCat("as of ", absl::FormatTime(*choice.as_of, absl::LocalTimeZone())));
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  ChosenVersions versions(connection, client.client_id(), std::move(choice));
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const RestoreSummary summary,
                   to_folder ? RunToFolder(connection, versions, options, output)
                             : RunToStandardOutput(connection, versions, options, output));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  PrintSummary(summary, options.restore.dry_run, elapsed.count(), output);
  return Judge(summary, versions.IdlePatterns(), options, output);
}

void AddChoice(CLI::App& restore, CommandOptions& options) {
  restore.add_option("--client", options.client, "The client's name or id")
      ->required()
      ->type_name("CLIENT");
  restore
      .add_option("--file", options.files,
                  "Only files that a GLOB fits, as `file list` shows them;\nmay be given often. * "
                  "and ? stop at /, ** does not, [a-z]")
      ->allow_extra_args(false)
      ->type_name("GLOB");
  restore
      .add_option("--as-of", options.as_of,
                  "The versions that were verified by then: 2026-05-01,\n\"2026-05-01 18:30\" "
                  "(local time) or 2026-05-01T18:30:00Z")
      ->type_name("TIME");
  restore.add_option("--version", options.version_id, "This version of the one --file")
      ->check(CLI::Validator(CLI::PositiveNumber).description(""))
      ->type_name("N");
}

void AddTarget(CLI::App& restore, CommandOptions& options) {
  restore
      .add_option("--to", options.to,
                  "The folder, made if it is not there; or - for a tar archive\non standard output")
      ->required()
      ->type_name("DIR");
  restore.add_flag("--dry-run", options.restore.dry_run,
                   "Say what would be done, and change nothing");
  restore.add_flag("--force", options.restore.force, "Replace files that have other content");
  restore
      .add_option("--parallel", options.restore.parallel,
                  absl::StrCat("Files at once, 1 to ", kMaxParallelFiles,
                               "; an archive takes one after another"))
      ->check(CLI::Validator(CLI::Range(1, kMaxParallelFiles)).description(""))
      ->type_name("N")
      ->capture_default_str();
  restore.add_flag("--fallback", options.restore.fallback,
                   "Of a damaged version restore the newest verified one\nbefore it that is not "
                   "(exit code 3)");
  restore.add_flag("--portable-names", options.restore.portable_names,
                   "Only names that Windows and macOS take as well");
  restore.add_flag("--allow-renames", options.allow_renames,
                   "That a file gets another name is no failure");
}

}  // namespace

void AddRestoreCommand(CLI::App& app, Command& chosen) {
  CLI::App& restore = *app.add_subcommand(
      "restore", "Fetch the newest verified version of all of a client's files, or of some");
  restore.footer(kFooter);
  const auto options = std::make_shared<CommandOptions>();
  AddChoice(restore, *options);
  AddTarget(restore, *options);
  restore.callback([&chosen, options] {
    chosen = [options](Connection& connection, Output& output) {
      return RunRestore(connection, output, *options);
    };
  });
}

}  // namespace backup::ctl

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/backupctl/commands.h"
#include "services/backupctl/restore.h"
#include "services/backupctl/restore_folder.h"

namespace backup::ctl {
namespace {

struct RestoreOptions {
  std::string client;
  std::string folder;
  bool force = false;
};

void PrintSummary(const RestoreSummary& summary, Output& output) {
  const double seconds = absl::ToDoubleSeconds(summary.elapsed);
  const double rate = seconds > 0 ? static_cast<double>(summary.bytes) / 1e6 / seconds : 0;
  if (output.json()) {
    output.Json(nlohmann::json{{"summary",
                                {{"files", summary.files},
                                 {"bytes", summary.bytes},
                                 {"failed", summary.failed},
                                 {"unverified", summary.unverified},
                                 {"seconds", seconds}}}});
    return;
  }
  output.Note(absl::StrFormat("restored %d files, %s in %.1f s (%.1f MB/s)", summary.files,
                              HumanSize(summary.bytes), seconds, rate));
  if (summary.unverified > 0) {
    output.Note(
        absl::StrCat(summary.unverified, " files have no verified version, so nothing to restore"));
  }
}

absl::StatusOr<ExitCode> RunRestore(Connection& connection, Output& output,
                                    const RestoreOptions& options) {
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  ASSIGN_OR_RETURN(RestoreFolder folder, RestoreFolder::Open(options.folder, options.force));
  ASSIGN_OR_RETURN(const RestoreSummary summary,
                   Restore(connection, client.client_id(), folder, output));
  PrintSummary(summary, output);
  if (summary.failed == 0) return ExitCode::kOk;
  output.Problem(absl::StrCat(summary.failed, " files could not be restored"));
  return ExitCode::kPartial;
}

}  // namespace

void AddRestoreCommand(CLI::App& app, Command& chosen) {
  CLI::App& restore = *app.add_subcommand(
      "restore", "Fetch the newest verified version of all of a client's files");
  restore.footer(
      "\nA file's name decides its place below the folder, never outside it: what could do harm in "
      "a name is\n"
      "written as %XX. Files that fail are reported, and the others go on (exit code 3).");
  const auto options = std::make_shared<RestoreOptions>();
  restore.add_option("--client", options->client, "The client's name or id")
      ->required()
      ->type_name("CLIENT");
  restore.add_option("--to", options->folder, "The folder; made if it is not there")
      ->required()
      ->type_name("DIR");
  restore.add_flag("--force", options->force, "Allow a folder with files in it, and replace them");
  restore.callback([&chosen, options] {
    chosen = [options](Connection& connection, Output& output) {
      return RunRestore(connection, output, *options);
    };
  });
}

}  // namespace backup::ctl
